"""The finish step says what the prefix holds, and says it again whenever it is asked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from asyncdiff_api.formats.errors import DrainedError
from asyncdiff_api.formats.layout import FAILED, GALLERY_INDEX, MANIFEST_LINES, SUCCESS
from asyncdiff_api.formats.manifest import Completion, read_records
from asyncdiff_api.formats.result import MAX_RESULT_BYTES
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.finish import finish, result_of
from asyncdiff_runtime.batch.generator import Made
from asyncdiff_runtime.storage import FolderStorage
from support.jobs import job as document
from support.painting import Painter, Spoiler, begin, work
from support.prefixes import recorded


def painted_job(max_failed: int = 0, seeds: int = 4) -> AsyncDiffJob:
    generate = {"prompts": ["<script>alert(1)</script>", "a boat"], "seeds": {"count": seeds}}
    return load(document({"spec.generate": generate, "spec.acceptance": {"maxFailedItems": max_failed}}))


def test_a_whole_job_succeeds_with_a_manifest_of_all_its_items(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    work(storage, job, Painter())

    manifest = finish(storage, job, begin(storage, job), "00000000")

    lines = storage.read(MANIFEST_LINES)
    assert list(read_records(lines, "")) == recorded(storage)
    assert manifest.lines_digest == f"sha256:{hashlib.sha256(lines).hexdigest()}"
    assert (manifest.items.done, manifest.items.total, manifest.missing_blocks) == (8, 8, 0)
    assert Completion.parse(storage.read(SUCCESS), SUCCESS).reason == "AllItemsDone"
    assert storage.stat(FAILED) is None
    assert b"<script>alert" not in storage.read(GALLERY_INDEX)
    message = result_of(manifest, 1, "00000000").encode()
    assert len(message) <= MAX_RESULT_BYTES


def test_an_unfinished_job_fails_and_succeeds_once_it_is_resumed(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    with pytest.raises(DrainedError):
        work(storage, job, Painter(), draining=[False, True])
    early = finish(storage, job, begin(storage, job), "00000000")
    assert (early.succeeded, early.items.done, early.missing_blocks) == (False, 2, 6)
    assert Completion.parse(storage.read(FAILED), FAILED).reason == "ShardsFailed"

    work(storage, job, Painter())
    late = finish(storage, job, begin(storage, job), "00000001")

    assert (late.succeeded, late.items.done) == (True, 8)
    assert storage.stat(SUCCESS) is not None
    assert storage.stat(FAILED) is None


def test_finishing_again_changes_nothing_but_the_time(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    work(storage, job, Painter())
    record = begin(storage, job)
    first, again = (finish(storage, job, record, f"0000000{run}") for run in range(2))
    assert first == again.model_copy(update={"finished_at": first.finished_at})


@pytest.mark.parametrize(("allowed", "word"), [(2, SUCCESS), (1, FAILED)])
def test_rejected_items_fail_the_job_past_the_allowed_number(tmp_path: Path, allowed: int, word: str) -> None:
    storage = FolderStorage(tmp_path)
    work(storage, painted_job(2), Spoiler(Made(np.zeros((16, 16, 3)), 0.1)))
    job = painted_job(allowed)

    manifest = finish(storage, job, begin(storage, job), "00000000")

    assert (manifest.items.done, manifest.items.rejected) == (6, 2)
    assert storage.stat(word) is not None
