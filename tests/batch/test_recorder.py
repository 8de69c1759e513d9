"""The recorder keeps the storage's time out of the generator's, and its counts agree with the ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from asyncdiff_api.formats.blocks import Blocking
from asyncdiff_api.formats.errors import OutageError
from asyncdiff_api.formats.job_record import WorklistSource
from asyncdiff_api.formats.layout import BLOCKS, ITEMS
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.recorder import QUEUED, WORKERS, Standing
from asyncdiff_runtime.batch.worklist import Choice, Worklist, inline_worklist
from asyncdiff_runtime.storage import Creation, FolderStorage
from support.jobs import job as document
from support.painting import Painter, work
from support.prefixes import assert_exactly_once, recorded
from support.processes import wait_until


def painted_job(prompts: int = 4, seeds: int = 15) -> AsyncDiffJob:
    generate = {"prompts": [f"picture {n}" for n in range(prompts)], "seeds": {"count": seeds}}
    return load(document({"spec.generate": generate}))


class StuckStorage(FolderStorage):
    """A store in which nothing is created under a prefix before it is let go."""

    def __init__(self, root: Path, prefix: str) -> None:
        super().__init__(root)
        self.prefix = prefix
        self.free = threading.Event()

    def create(self, key: str, data: bytes, content_type: str = "") -> Creation:
        """Waits, then creates."""
        if key.startswith(self.prefix):
            self.free.wait()
        return super().create(key, data, content_type)


class ShutStorage(FolderStorage):
    """A store that fails from some object on."""

    def __init__(self, root: Path, objects: int) -> None:
        super().__init__(root)
        self.left = objects
        self.refused = 0

    def create(self, key: str, data: bytes, content_type: str = "") -> Creation:
        """Creates a few items."""
        if key.startswith(ITEMS):
            self.left -= 1
            if self.left < 0:
                self.refused += 1
                raise OutageError("the store is away")
        return super().create(key, data, content_type)


@dataclass(frozen=True)
class Watched:
    """A worklist that notes what it is asked for."""

    worklist: Worklist
    asked: list[range] = field(default_factory=list)

    @property
    def source(self) -> WorklistSource | None:
        """As `Worklist.source`."""
        return self.worklist.source

    @property
    def blocking(self) -> Blocking:
        """As `Worklist.blocking`."""
        return self.worklist.blocking

    def choices(self, blocks: range, blocking: Blocking) -> Iterator[Choice]:
        """As `Worklist.choices`."""
        self.asked.append(blocks)
        return self.worklist.choices(blocks, blocking)


@pytest.mark.parametrize("stuck", [BLOCKS, ITEMS])
def test_generation_goes_on_while_the_storage_is_stuck_until_the_queue_is_full(
    tmp_path: Path, stuck: str
) -> None:
    storage, painter = StuckStorage(tmp_path, stuck), Painter()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, storage, painted_job(), painter)
        try:
            wait_until(lambda: len(painter.made) >= QUEUED, what="a full queue")
            assert len(painter.made) <= QUEUED + 2
        finally:
            storage.free.set()
        assert working.result().done == 60
    assert_exactly_once(storage, blocks=60, items=60)


def test_after_an_error_the_queue_is_dropped_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    storage = ShutStorage(tmp_path, objects=10)
    with pytest.raises(OutageError, match="the store is away"):
        work(storage, painted_job(), Painter())
    assert len(recorded(storage)) == 10
    assert storage.refused <= WORKERS  # each was in the middle of one

    again = Painter()
    work(FolderStorage(tmp_path), painted_job(), again)
    assert len(again.made) == 50
    assert_exactly_once(FolderStorage(tmp_path), blocks=60, items=60)


def test_what_is_said_to_be_recorded_is_in_the_ledger(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    told: list[Standing] = []
    work(storage, job, Painter(), on_progress=told.append)
    assert [one.recorded.done for one in told] == sorted(one.recorded.done for one in told)
    last = told[-1]
    assert (last.recorded.done, last.counts.done, last.made, last.queued) == (60, 60, 60, 0)
    assert last.written_bytes == sum(record.bytes or 0 for record in recorded(storage))


def test_a_resume_reads_the_lines_of_unfinished_blocks_alone(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), painted_job()
    work(storage, job, Painter())
    for block in (7, 8, 30):
        storage.delete(f"{BLOCKS}block-{block:07d}.jsonl")
    worklist = Watched(inline_worklist(job.spec.generate))

    counts = work(storage, job, Painter(), worklist=worklist)

    assert worklist.asked == [range(7, 9), range(30, 31)]
    assert counts.done == counts.total == 60
