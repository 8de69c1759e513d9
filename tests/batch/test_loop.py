"""The work loop makes every item exactly once, whatever interrupts it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from asyncdiff_api.formats.errors import DrainedError, TooManyFailedItemsError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.job_record import WorklistSource
from asyncdiff_api.formats.layout import BLOCKS, REJECTED, block_key, item_key, parse_block_key
from asyncdiff_api.formats.manifest import Outcome
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.worklist import LargeWorklist
from asyncdiff_runtime.storage import FolderStorage
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jobs import job as document
from support.painting import Painter, Spoiler, work
from support.prefixes import assert_exactly_once, recorded


def painted_job(prompts: int = 3, seeds: int = 4, max_failed: int = 0) -> AsyncDiffJob:
    generate = {"prompts": [f"picture {n}" for n in range(prompts)], "seeds": {"count": seeds}}
    changes = {"spec.generate": generate, "spec.acceptance": {"maxFailedItems": max_failed}}
    return load(document(changes))


class PowerCutError(Exception):
    """What ends an attempt midway in these tests."""


@dataclass
class Interrupted:
    """A painter that goes down at one of its batches."""

    after: int
    painter: Painter = field(default_factory=Painter)

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        if self.after == 0:
            raise PowerCutError
        self.after -= 1
        return self.painter.generate(items)


def test_every_item_is_made_once_and_recorded_with_its_digest(tmp_path: Path) -> None:
    storage, painter = FolderStorage(tmp_path), Painter()

    counts = work(storage, painted_job(), painter)

    assert counts.done == counts.total == len(painter.made) == 12
    assert_exactly_once(storage, blocks=12, items=12)


@settings(max_examples=25, deadline=None)
@given(
    attempts=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5), st.integers(0, 4)), max_size=4),
    prompts=st.integers(1, 6),
    seeds=st.integers(1, 5),
)
def test_any_attempts_with_any_shards_end_with_every_item_made_once(
    attempts: list[tuple[int, int, int]], prompts: int, seeds: int
) -> None:
    job, made = painted_job(prompts, seeds), []
    with tempfile.TemporaryDirectory() as folder:
        storage = FolderStorage(Path(folder))
        for after, shards, shard in attempts:
            interrupted = Interrupted(after)
            with contextlib.suppress(PowerCutError):
                work(storage, job, interrupted, shard % shards, shards)
            made += interrupted.painter.made
        last = Painter()
        for shard in range(3):
            work(storage, job, last, shard, 3)
        assert_exactly_once(storage, blocks=prompts * seeds, items=prompts * seeds)
    assert len(made + last.made) == len(set(made + last.made)) == prompts * seeds


def test_an_object_that_no_ledger_knows_is_taken_over(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    work(storage, job, Painter())
    storage.delete(block_key(5))

    again = Painter()
    work(storage, job, again)

    assert again.made == []
    assert_exactly_once(storage, blocks=12, items=12)


def test_an_object_that_was_damaged_is_made_again(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    work(storage, job, Painter())
    (lost,) = [record for record in recorded(storage) if record.block == 5]
    storage.delete(block_key(5))
    storage.write(item_key(5, lost.id, "PNG"), b"\x89PNG cut short")

    again = Painter()
    work(storage, job, again)

    assert again.made == [lost.id]
    assert_exactly_once(storage, blocks=12, items=12)


def test_a_drained_attempt_records_what_is_finished(tmp_path: Path) -> None:
    storage, job, first = FolderStorage(tmp_path), painted_job(), Painter()
    with pytest.raises(DrainedError):
        work(storage, job, first, draining=[False, False, True])
    assert {record.id for record in recorded(storage)} == set(first.made)
    assert len(first.made) == 4

    second = Painter()
    work(storage, job, second)
    assert len(second.made) == 8
    assert not set(first.made) & set(second.made)


def test_parts_are_gone_when_their_block_is_finished(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job(prompts=8, seeds=512)  # blocks of 4 items
    with pytest.raises(DrainedError):
        work(storage, job, Painter(), shards=200, draining=[False, False, False, True])
    parts = [found.key for found in storage.list(BLOCKS) if not _is_complete(found.key)]
    assert len(parts) == 1

    again = Painter()
    work(storage, job, again, shards=200)
    assert [key for key in parts if storage.stat(key)] == []
    assert len(again.made) == len(recorded(storage)) - 6


def test_runs_of_one_shard_at_once_record_nothing_twice(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job(seeds=20)

    with ThreadPoolExecutor(3) as runs:
        counts = list(runs.map(lambda _: work(storage, job, Painter()), range(3)))

    assert [count.done for count in counts] == [60, 60, 60]
    assert_exactly_once(storage, blocks=60, items=60)


def test_equal_lines_of_a_block_are_made_once_and_counted(tmp_path: Path) -> None:
    storage, painter, job = FolderStorage(tmp_path), Painter(), painted_job()
    text = b'{"prompt": "the same", "seed": 7}\n' * 20
    storage.write("list.jsonl", text)
    source = WorklistSource(source="list.jsonl", bytes=len(text))
    worklist = LargeWorklist(storage, "list.jsonl", source, job.spec.generate)

    counts = work(storage, job, painter, worklist=worklist)

    assert len(painter.made) == counts.done == 1
    assert counts.duplicates == 19


@pytest.mark.parametrize(
    ("spoiled", "outcome", "reason", "kept"),
    [
        (Made(np.zeros((16, 16, 3)), 0.1), Outcome.REJECTED, "Blank", 1),
        (Made(np.full((16, 16, 3), np.nan), 0.1), Outcome.REJECTED, "NotFinite", 0),
        (Unmade("Refused", "the size is odd"), Outcome.FAILED, "Refused", 0),
    ],
)
def test_a_spoiled_item_is_told_apart_and_counted(
    tmp_path: Path, spoiled: Made | Unmade, outcome: Outcome, reason: str, kept: int
) -> None:
    storage = FolderStorage(tmp_path)
    job = painted_job(prompts=1, max_failed=1)

    counts = work(storage, job, Spoiler(spoiled))

    assert (counts.done, counts.rejected + counts.failed) == (3, 1)
    (record,) = [record for record in recorded(storage) if record.outcome is not Outcome.ACCEPTED]
    assert (record.outcome, record.reason, record.seed) == (outcome, reason, 0)
    assert len(list(storage.list(REJECTED))) == kept


def test_more_spoiled_items_than_allowed_end_the_shard_and_stay_recorded(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job(prompts=1)
    with pytest.raises(TooManyFailedItemsError, match="0 items failed and 1 were rejected"):
        work(storage, job, Spoiler(Made(np.zeros((16, 16, 3)), 0.1)))
    assert [record.outcome for record in recorded(storage)].count(Outcome.REJECTED) == 1


def _is_complete(key: str) -> bool:
    parsed = parse_block_key(key)
    return parsed is not None and parsed.complete
