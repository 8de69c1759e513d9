"""What an output prefix holds, told by its own files: no job and no model is asked, and nothing is written."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final

from asyncdiff_api.formats.blocks import BlockUnit
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.formats.document import FormatModel
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import JsonMap, ModelIdentity
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.layout import FAILED, GALLERY_INDEX, JOB_RECORD, MANIFEST, SUCCESS, block_key
from asyncdiff_api.formats.manifest import (
    Completion,
    ItemCounts,
    Manifest,
    add_counts,
    count_records,
    merge_records,
    read_block,
)
from asyncdiff_api.formats.progress import SecondsPerItem, Throughput
from pydantic import AwareDatetime

from asyncdiff_runtime.batch.ledger import Block, Ledger, Survey
from asyncdiff_runtime.batch.record import read_record
from asyncdiff_runtime.storage import ObjectMissingError, Storage

READERS: Final = 16
"""Block manifests read at once."""
READ_AHEAD: Final = 64
"""Blocks held at a time by who reads all of them."""
MOST_READ: Final = 4096
"""Block manifests of a finished prefix that are read, for the times alone: its counts are in one file."""
WINDOW: Final = timedelta(minutes=10)
"""Time before the last write over which the rate is taken, so that a pause between two runs is left out."""


class State(StrEnum):
    """How far a prefix has come."""

    UNFINISHED = "Unfinished"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Gap(FormatModel):
    """A run of blocks that are not finished."""

    first: int
    last: int
    shards: tuple[int, ...] = ()
    """Shards that have begun it or whose blocks are next to it, as far as the ledger knows."""


class PrefixStatus(FormatModel):
    """What a prefix holds."""

    uri: str
    state: State
    job: JsonMap
    """Name, namespace and uid of the job that began it."""
    model: ModelIdentity
    schedule: JsonMap
    items: ItemCounts
    """`total` is None while lines are uncounted."""
    blocks: int
    finished_blocks: int
    gaps: tuple[Gap, ...] = ()
    throughput: Throughput
    completion: Completion | None = None
    """The last word of the finish step; None while there is none, or work goes on after it."""
    remedy: str = ""
    """What to do about the completion's reason."""
    gallery: str | None = None
    """Address of the gallery's page."""
    created_at: AwareDatetime
    last_write_at: AwareDatetime
    """Of the ledger or the finish step."""
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the manifest of a block, or its parts, add up to."""

    counts: ItemCounts
    seconds: array[float]
    """Time of each item's generation."""
    written_at: datetime
    shard: int | None

    @property
    def items(self) -> int:
        """Distinct items that are recorded."""
        return self.counts.done + self.counts.rejected + self.counts.failed


class PrefixReader:
    """Reads a prefix again and again; finished blocks, which never change, only once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._finished: dict[int, Tally] = {}

    def read(self) -> PrefixStatus:
        """Gives what the prefix holds now.

        Raises:
            InvalidJobError: No job has written there.
            DamagedRecordError: A file of the ledger is damaged.
            OutputRefusedError: As `Storage`.
            OutageError: As `Storage`.
        """
        record = read_record(self._storage)
        if record is None:
            raise InvalidJobError(f"{self._storage.uri} holds no {JOB_RECORD}, so no job has written there")
        completion = self._completion()
        survey = Ledger(self._storage, record.request_digest, "00000000", 0).survey(
            range(record.blocks.count)
        )
        parts = ((block, self._tally(keys)) for block, keys in survey.parts.items())
        begun = {block: tally for block, tally in parts if tally is not None}
        over = completion is not None and not _goes_on(
            completion, self._finished_before(record), len(survey.complete), begun.values()
        )
        self._read_finished(sorted(survey.complete), MOST_READ if over else None)
        shown = self._storage.stat(GALLERY_INDEX) is not None
        gallery = f"{self._storage.uri}{GALLERY_INDEX}" if shown else None
        return status_of(
            self._storage.uri, record, completion if over else None, survey, self._finished, begun, gallery
        )

    def _completion(self) -> Completion | None:
        for key in (SUCCESS, FAILED):
            try:
                return Completion.parse(self._storage.read(key), f"{self._storage.uri}{key}")
            except ObjectMissingError:
                continue
        return None

    def _finished_before(self, record: JobRecord) -> int:
        """Gives the number of blocks that were finished when the finish step last ran."""
        try:
            manifest = Manifest.parse(self._storage.read(MANIFEST), f"{self._storage.uri}{MANIFEST}")
        except ObjectMissingError:
            return record.blocks.count
        return manifest.blocks - manifest.missing_blocks

    def _read_finished(self, blocks: Sequence[int], most: int | None) -> None:
        step = 1 if most is None else -(-len(blocks) // most) or 1
        unread = [block for block in blocks[::step] if block not in self._finished]
        with ThreadPoolExecutor(READERS) as readers:
            tallies = readers.map(lambda block: self._tally((block_key(block),)), unread)
            for block, tally in zip(unread, tallies, strict=True):
                if tally is not None:
                    self._finished[block] = tally

    def _tally(self, keys: Sequence[str]) -> Tally | None:
        """Adds up manifests of one block; None if they are gone, as parts are once the block is finished."""
        read = []
        for key in keys:
            try:
                read.append(read_block(self._storage.read(key), f"{self._storage.uri}{key}"))
            except ObjectMissingError:
                continue
        if not read:
            return None
        records = merge_records(record for manifest in read for record in manifest.records).values()
        last = max((manifest.header for manifest in read), key=lambda header: header.written_at)
        seconds = array("f", (record.seconds for record in records if record.seconds is not None))
        return Tally(count_records(records), seconds, last.written_at, last.shard)


def status_of(
    uri: str,
    record: JobRecord,
    completion: Completion | None,
    survey: Survey,
    finished: dict[int, Tally],
    begun: dict[int, Tally],
    gallery: str | None,
) -> PrefixStatus:
    """Puts together what was read.

    Args:
        uri: Where the prefix lies.
        record: Its `job.json`.
        completion: The last word, if work has not gone on since.
        survey: Which blocks are finished.
        finished: Finished blocks that were read; all of them unless there is a completion.
        begun: Blocks of which something is recorded.
        gallery: Address of the gallery, if there is one.
    """
    tallies = [*finished.values(), *begun.values()]
    writes = [tally.written_at for tally in tallies]
    state = State.UNFINISHED
    if completion is not None:
        state = State.SUCCEEDED if completion.succeeded else State.FAILED
        writes.append(completion.finished_at)
    share = len(finished) / len(survey.complete) if survey.complete else 1.0
    return PrefixStatus(
        uri=uri,
        state=state,
        job=record.job,
        model=record.model,
        schedule=record.schedule,
        items=completion.items if completion is not None else _counts(record, tallies),
        blocks=record.blocks.count,
        finished_blocks=len(survey.complete),
        gaps=tuple(gaps(record.blocks.count, survey.complete, {**finished, **begun})),
        throughput=throughput_of(tallies, share),
        completion=completion,
        remedy=remedy_of(completion),
        gallery=gallery,
        created_at=record.created_at,
        last_write_at=max([record.created_at, *writes]),
        versions=record.versions,
    )


def gaps(count: int, finished: frozenset[int], known: dict[int, Tally]) -> Iterator[Gap]:
    """Gives the runs of unfinished blocks.

    Args:
        count: Number of blocks.
        finished: Those that are finished.
        known: What was read of blocks, finished or begun.
    """
    for missing, run in groupby(range(count), key=lambda block: block not in finished):
        if missing:
            first, *more = run
            last = more[-1] if more else first
            around = (known[block].shard for block in range(first - 1, last + 2) if block in known)
            shards = sorted({shard for shard in around if shard is not None})
            yield Gap(first=first, last=last, shards=tuple(shards))


def throughput_of(tallies: Iterable[Tally], share: float = 1.0) -> Throughput:
    """Gives how fast the blocks were made, as their manifests record it.

    Args:
        tallies: Blocks that were read.
        share: How much of all blocks they are, from 0 to 1.
    """
    ordered = sorted(tallies, key=lambda tally: tally.written_at)
    seconds = sorted(value for tally in ordered for value in tally.seconds)
    per_item = None
    if seconds:
        per_item = SecondsPerItem(p50=_quantile(seconds, 0.5), p95=_quantile(seconds, 0.95))
    return Throughput(items_per_second=_rate(ordered, share), seconds_per_item=per_item)


def remedy_of(completion: Completion | None) -> str:
    """Gives what to do about a completion's reason; empty where there is nothing to do or it is unknown."""
    if completion is None or completion.succeeded or completion.reason not in tuple(Reason):
        return ""
    return REASONS[Reason(completion.reason)].remedy


def blocks_in_order(ledger: Ledger, count: int) -> Iterator[Block]:
    """Gives all blocks with what is recorded of them, several read at once, none kept.

    Raises:
        DamagedRecordError: As `Ledger.open`.
        AnotherJobError: As `Ledger.open`.
    """
    survey = ledger.survey(range(count))
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, count, READ_AHEAD):
            numbers = range(start, min(start + READ_AHEAD, count))
            yield from readers.map(lambda number: ledger.open(number, survey), numbers)


def _goes_on(completion: Completion, before: int, finished: int, begun: Iterable[Tally]) -> bool:
    """Whether something was recorded after the last word: a job that failed is being resumed.

    Args:
        completion: The last word.
        before: Blocks that were finished then.
        finished: Blocks that are finished now.
        begun: Other blocks of which something is recorded.
    """
    if completion.succeeded:
        return False
    return finished > before or any(tally.written_at > completion.finished_at for tally in begun)


def _counts(record: JobRecord, tallies: Iterable[Tally]) -> ItemCounts:
    counts = add_counts([ItemCounts(), *(tally.counts for tally in tallies)])
    if record.blocks.unit is BlockUnit.BYTES:
        return counts
    return counts.model_copy(update={"total": record.blocks.total - counts.duplicates})


def _rate(ordered: Sequence[Tally], share: float) -> float | None:
    """Gives items a second in the time before the last write; None where there is one write alone."""
    if not ordered:
        return None
    end = ordered[-1].written_at
    recent = [tally for tally in ordered if end - tally.written_at <= WINDOW]
    span = (end - recent[0].written_at).total_seconds()
    # What the first of them holds was made before it was written, and so before the span.
    return sum(tally.items for tally in recent[1:]) / span / share if span else None


def _quantile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 4)
