"""Records agree with what lies under their keys, also where two writers made different bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.formats.layout import frame_name
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.output import Format
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.generator import Made
from asyncdiff_runtime.batch.objects import STILLS, ObjectWriter
from asyncdiff_runtime.media import read_metadata
from asyncdiff_runtime.storage import FolderStorage
from support.jobs import job as document
from support.painting import begin, paint

TRACE = "0123456789abcdef0123456789abcdef"


def writer_and_item(folder: Path, output_format: str) -> tuple[ObjectWriter, WorkItem]:
    storage = FolderStorage(folder)
    job = load(document({"spec.output.format": output_format}))
    resolver = Resolver(Shared.of_job(job.spec, begin(storage, job)))
    writer = ObjectWriter(
        storage=storage,
        output=job.spec.output,
        reject_blank=True,
        resolver=resolver,
        facts={"versions": {}, "trace": TRACE},
        default_fps=8,
    )
    (item,) = resolver.items(Position(0, 1), WorklistLine(prompt="a fox in the snow", seed=7))
    return writer, item


@pytest.mark.parametrize("output_format", ["PNG", "JPEG", "WebP"])
def test_of_two_writers_the_first_ones_object_stands_in_both_records(
    tmp_path: Path, output_format: str
) -> None:
    writer, item = writer_and_item(tmp_path, output_format)

    first, second = (writer.settle(item, 0, paint(seed)) for seed in (1, 2))

    assert first.key == second.key
    assert first.key is not None
    data = writer.storage.read(first.key)
    assert first.sha256 == second.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("output_format", list(Format))
def test_an_object_of_any_format_says_what_was_asked_for_and_in_which_trace(
    tmp_path: Path, output_format: Format
) -> None:
    writer, item = writer_and_item(tmp_path, output_format)
    video = output_format not in STILLS
    made = Made(np.stack([paint(seed).pixels for seed in (7, 8)]), 0.1) if video else paint(7)
    record = writer.settle(item, 0, made)
    assert record.key is not None
    key = record.key + frame_name(0) if record.key.endswith("/") else record.key
    metadata = read_metadata(writer.storage.read(key))
    assert metadata["trace"] == TRACE
    request = metadata["request"]
    assert isinstance(request, dict)
    assert (request["prompt"], request["seed"]) == ("a fox in the snow", 7)


def test_an_adopted_object_gets_the_record_that_its_writer_would_have_written(tmp_path: Path) -> None:
    writer, item = writer_and_item(tmp_path, "PNG")
    made = writer.settle(item, 3, Made(paint(7).pixels, seconds=2.5))
    adopted = writer.adopt(item, 3)
    assert adopted == made.model_copy(update={"seconds": None})


def test_an_object_that_was_made_for_something_else_is_not_adopted_but_removed(tmp_path: Path) -> None:
    writer, item = writer_and_item(tmp_path, "PNG")
    other = replace(item, id="f" * len(item.id), seed=8)
    made = writer.settle(other, 0, paint(8))
    assert made.key is not None
    key = made.key.replace(other.id, item.id)
    writer.storage.write(key, writer.storage.read(made.key))

    assert writer.orphans(0) == {item.id, other.id}
    assert writer.adopt(item, 0) is None
    assert writer.storage.stat(key) is None
    assert writer.adopt(item, 0) is None
