"""Encoding, upload and the ledger beside the generation, so that ranks never wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final

from asyncdiff_api.formats.errors import TooManyFailedItemsError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, add_counts, count_records

from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.ledger import Block, Ledger
from asyncdiff_runtime.batch.objects import ObjectWriter

WORKERS: Final = 4
QUEUED: Final = 32
"""Results that may wait for a worker; a generator that is faster waits."""
FLUSH_SECONDS: Final = 10.0
"""Age at which records of unfinished blocks are written down."""


class Recorder:
    """Takes results, writes their objects on threads of its own, and keeps the ledger.

    Its methods are for one thread; what went wrong in the background is raised by the next call.
    """

    def __init__(self, ledger: Ledger, objects: ObjectWriter, max_failed: int) -> None:
        self._ledger = ledger
        self._objects = objects
        self._max_failed = max_failed
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="record")
        self._room = threading.BoundedSemaphore(QUEUED)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._underway = 0
        self._open: dict[int, Block] = {}
        self._counts = ItemCounts()
        self._error: BaseException | None = None
        self._flushed = time.monotonic()

    @property
    def counts(self) -> ItemCounts:
        """Counts of the blocks taken up so far, those of earlier attempts included; `total` stays None."""
        with self._lock:
            return add_counts(
                [self._counts, *(count_records(b.records.values()) for b in self._open.values())]
            )

    def open(self, block: Block, awaited: int) -> None:
        """Takes up a block of which so many items are still to come; commits it if none are."""
        block.awaited = awaited
        with self._lock:
            self._open[block.number] = block
            if not awaited:
                self._close(block)
        self.check()

    def submit(self, item: WorkItem, duplicates: int, result: Made | Unmade) -> None:
        """Takes a result; waits while too many are under way."""
        self.check()
        self._room.acquire()
        with self._lock:
            self._underway += 1
        self._pool.submit(self._settle, item, duplicates, result).add_done_callback(self._settled)

    def check(self) -> None:
        """Raises what went wrong since the last call, and more failures than the job allows.

        Raises:
            TooManyFailedItemsError: The counts are past `maxFailedItems`.
            OutputRefusedError: As `Storage`.
            OutageError: As `Storage`.
        """
        if self._error is not None:
            raise self._error
        counts = self.counts
        if counts.failed + counts.rejected > self._max_failed:
            raise TooManyFailedItemsError(
                f"{counts.failed} items failed and {counts.rejected} were rejected, where acceptance.maxFailedItems "
                f"allows {self._max_failed}; see {self._objects.storage.uri}rejected/ and the manifests under "
                "manifest/, then raise it or mend the prompts"
            )

    def close(self) -> None:
        """Waits for all that is under way and writes down what is not yet."""
        with self._idle:
            while self._underway:
                self._idle.wait()
            if self._error is None:
                self._flush(self._open.values())
        self._pool.shutdown()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self, item: WorkItem, duplicates: int, result: Made | Unmade) -> None:
        record = self._objects.settle(item, duplicates, result)
        with self._lock:
            self._enter(record)

    def _enter(self, record: ItemRecord) -> None:
        block = self._open[record.block]
        block.records[record.id] = record
        block.awaited -= 1
        if not block.awaited:
            self._close(block)
        elif time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush(self._open.values())

    def _close(self, block: Block) -> None:
        """Commits a block, unless it is an earlier attempt's that is complete, and counts it."""
        if not block.complete:
            self._ledger.commit(block)
        self._counts = add_counts([self._counts, count_records(block.records.values())])
        del self._open[block.number]

    def _flush(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._ledger.flush(block)
        self._flushed = time.monotonic()

    def _settled(self, future: Future[None]) -> None:
        error = future.exception()
        with self._idle:
            if error is not None and self._error is None:
                self._error = error
            self._underway -= 1
            self._idle.notify_all()
        self._room.release()
