"""Encoding, upload and the ledger beside the generation, so that ranks never wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from asyncdiff_api.formats.errors import OutageError, OutputRefusedError, TooManyFailedItemsError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, count_records

from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.ledger import Block, Ledger
from asyncdiff_runtime.batch.objects import ObjectWriter

WORKERS: Final = 16
"""Threads that settle results. Most of them wait for the network; `objects.ENCODERS` of them encode."""
QUEUED: Final = 32
"""Results that may be under way; a generator that is faster waits."""
QUEUED_BYTES: Final = 2**30
"""Memory that their pixels may take. One result is let in whatever its size."""
FLUSH_SECONDS: Final = 10.0
"""Age at which records of unfinished blocks are written down, where lost ones can be had from the objects."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a recorder stands."""

    counts: ItemCounts
    """Of the blocks taken up so far, those of earlier attempts included; `total` stays None."""
    recorded: ItemCounts
    """As `counts`, but only what the ledger holds: what is left if the process ends at once."""
    made: int
    """Results that this recorder was given."""
    queued: int
    """Of these, the ones under way to the storage."""
    written_bytes: int
    """Size of the objects that this recorder has settled."""
    waited_seconds: float
    """Time that callers have waited for encoding and upload."""


OnStanding = Callable[[Standing], None]
"""Told after each write to the ledger, from any thread but by one at a time; it must not call the recorder."""


class Recorder:
    """Takes results, writes their objects on threads of its own, and keeps the ledger.

    Its methods are for one thread; what went wrong in the background is raised by the next call. From then on
    results are dropped: the storage is away or shut, and whoever has to end should not wait for each of them.

    Two locks: `_lock` guards what is in memory and is never held while the storage is asked; a block's own
    `writing` is held while the block is written, so that its commit comes after its last part. Who needs both
    takes `writing` first.
    """

    def __init__(
        self, ledger: Ledger, objects: ObjectWriter, max_failed: int, on_standing: OnStanding
    ) -> None:
        self._ledger = ledger
        self._objects = objects
        self._max_failed = max_failed
        self._on_standing = on_standing
        self._flush_seconds = FLUSH_SECONDS if objects.adopts else 0.0
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="record")
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._telling = threading.Lock()
        self._underway = 0
        self._held_bytes = 0
        self._made = 0
        self._open: dict[int, Block] = {}
        self._counts: Counter[str] = Counter()
        self._recorded: Counter[str] = Counter()
        self._error: BaseException | None = None
        self._flushed = time.monotonic()
        self._written_bytes = 0
        self._waited_seconds = 0.0

    @property
    def counts(self) -> ItemCounts:
        """Counts of the blocks taken up so far, those of earlier attempts included; `total` stays None."""
        with self._lock:
            return ItemCounts(**self._counts)

    @property
    def standing(self) -> Standing:
        """Where the recorder stands now."""
        with self._lock:
            return Standing(
                counts=ItemCounts(**self._counts),
                recorded=ItemCounts(**self._recorded),
                made=self._made,
                queued=self._underway,
                written_bytes=self._written_bytes,
                waited_seconds=self._waited_seconds,
            )

    def count(self, counts: ItemCounts) -> None:
        """Counts a block that was finished before."""
        tally = _tally(counts)
        with self._lock:
            self._counts.update(tally)
            self._recorded.update(tally)

    def open(self, block: Block, awaited: int) -> None:
        """Takes up an unfinished block of which so many items are still to come; commits it if none are."""
        self.check()
        block.awaited = awaited
        with self._lock:
            self._open[block.number] = block
            self._counts.update(_tally_of(block.records.values()))
            self._recorded.update(_tally_of(block.kept()))
        if not awaited:
            self._start(0, lambda: self._commit(block))

    def submit(self, item: WorkItem, duplicates: int, result: Made | Unmade) -> None:
        """Takes a result; waits while too many are under way."""
        self.check()
        self._made += 1
        size = result.pixels.nbytes if isinstance(result, Made) else 0
        self._start(size, lambda: self._settle(item, duplicates, result))

    def check(self) -> None:
        """Raises what went wrong since the last call, and more failures than the job allows.

        Raises:
            TooManyFailedItemsError: The counts are past `maxFailedItems`.
            OutputRefusedError: As `Storage`.
            OutageError: As `Storage`.
        """
        if self._error is not None:
            raise self._error
        refuse_failures(self.counts, self._max_failed, self._objects.storage.uri)

    def close(self) -> None:
        """Waits for all that is under way and writes down what is not yet.

        Raises:
            OutputRefusedError: As `Storage`; the records are lost and their objects are not.
            OutageError: As `Storage`; likewise.
        """
        with self._changed:
            self._wait_for(lambda: not self._underway)
        try:
            if not isinstance(self._error, OutageError | OutputRefusedError):
                list(self._pool.map(self._flush, list(self._open.values())))
                self._tell()
        finally:
            self._pool.shutdown()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, size: int, work: Callable[[], None]) -> None:
        """Has work done on a thread, once there is room for what it holds."""
        with self._changed:
            self._wait_for(
                lambda: (
                    not self._underway
                    or (self._underway < QUEUED and self._held_bytes + size <= QUEUED_BYTES)
                )
            )
            self._underway += 1
            self._held_bytes += size
        self._pool.submit(work).add_done_callback(lambda future: self._done(future, size))

    def _wait_for(self, state: Callable[[], bool]) -> None:
        began = time.monotonic()
        self._changed.wait_for(state)
        self._waited_seconds += time.monotonic() - began

    def _done(self, future: Future[None], size: int) -> None:
        error = future.exception()
        with self._changed:
            if error is not None and self._error is None:
                self._error = error
            self._underway -= 1
            self._held_bytes -= size
            self._changed.notify_all()

    def _settle(self, item: WorkItem, duplicates: int, result: Made | Unmade) -> None:
        if self._error is not None:
            return
        record = self._objects.settle(item, duplicates, result)
        with self._lock:
            block = self._open[record.block]
            block.records[record.id] = record
            block.awaited -= 1
            self._counts.update(_tally_of([record]))
            self._written_bytes += record.bytes or 0
            last = not block.awaited
            due = [] if last else self._due()
        if last:
            self._commit(block)
        for unfinished in due:
            self._flush(unfinished)
        if due:
            self._tell()

    def _due(self) -> list[Block]:
        """Gives the blocks that are to be flushed now: all of them, once in a while."""
        if time.monotonic() - self._flushed < self._flush_seconds:
            return []
        self._flushed = time.monotonic()
        return list(self._open.values())

    def _commit(self, block: Block) -> None:
        """Commits a block of which no item is awaited any more."""
        with block.writing:
            made, kept = _tally_of(block.records.values()), _tally_of(block.kept())
            self._ledger.commit(block)  # which may leave another writer's records in the block
            standing = _tally_of(block.records.values())
        with self._lock:
            for counts, before in ((self._counts, made), (self._recorded, kept)):
                counts.subtract(before)
                counts.update(standing)
            del self._open[block.number]
        self._tell()

    def _flush(self, block: Block) -> None:
        """Writes down what no part holds yet of an unfinished block."""
        with block.writing:
            with self._lock:
                fresh = block.fresh() if block.awaited else []  # else it is committed, or about to be
            if fresh:
                self._ledger.flush(block, fresh)
                with self._lock:
                    self._recorded.update(_tally_of(fresh))

    def _tell(self) -> None:
        with self._telling:  # so that the last word is the latest
            self._on_standing(self.standing)


def refuse_failures(counts: ItemCounts, allowed: int, uri: str) -> None:
    """Refuses to go on where more items failed than a job allows.

    Args:
        counts: Items of a shard, or of a rank's part of it.
        allowed: The job's `acceptance.maxFailedItems`.
        uri: Where its output lies.

    Raises:
        TooManyFailedItemsError: Failed and rejected items are more than that.
    """
    if counts.failed + counts.rejected > allowed:
        raise TooManyFailedItemsError(
            f"{counts.failed} items failed and {counts.rejected} were rejected, where acceptance.maxFailedItems "
            f"allows {allowed}; see {uri}rejected/ and the manifests under manifest/, then raise it or mend the "
            "prompts"
        )


def _tally(counts: ItemCounts) -> Counter[str]:
    return Counter(counts.model_dump(exclude={"total"}))


def _tally_of(records: Iterable[ItemRecord]) -> Counter[str]:
    return _tally(count_records(records))
