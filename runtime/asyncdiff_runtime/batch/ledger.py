"""The ledger: what is recorded of each block, and recording more without recording anything twice."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from asyncdiff_api.formats.canonical import sha256_digest
from asyncdiff_api.formats.errors import AnotherJobError
from asyncdiff_api.formats.layout import BLOCKS, block_key, parse_block_key, part_key
from asyncdiff_api.formats.manifest import (
    BlockHeader,
    BlockManifest,
    ItemRecord,
    merge_records,
    read_block,
    write_block,
)

from asyncdiff_runtime.batch.record import now
from asyncdiff_runtime.storage import Creation, ObjectMissingError, Storage


@dataclass(eq=False)
class Block:
    """A block in hand."""

    number: int
    records: dict[str, ItemRecord]
    """What is recorded of it, by item id."""
    complete: bool
    """Its manifest is written: nothing can be added."""
    parts: set[str] = field(default_factory=set)
    """Keys of parts whose records are among `records`."""
    flushed: set[str] = field(default_factory=set)
    """Items that a part holds already."""
    awaited: int = 0
    """Items that are still to be recorded before it can be committed."""
    writing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while the block is written; it guards `parts` and `flushed`."""

    def kept(self) -> list[ItemRecord]:
        """Gives the records that parts hold."""
        return [record for name, record in self.records.items() if name in self.flushed]

    def fresh(self) -> list[ItemRecord]:
        """Gives the records that no part holds yet."""
        return [record for name, record in self.records.items() if name not in self.flushed]


@dataclass(frozen=True)
class Survey:
    """The ledger's objects of a run of blocks, at the time of one listing."""

    complete: frozenset[int]
    parts: dict[int, tuple[str, ...]]
    """Keys of the parts of each block that is not complete."""
    leftovers: tuple[str, ...] = ()
    """Keys of parts whose block is complete: their writer was killed before it had removed them."""

    def unfinished(self, blocks: range) -> Iterator[range]:
        """Gives the blocks that are not complete, as runs."""
        start = blocks.start
        for stop in sorted(number for number in self.complete if number in blocks):
            if stop > start:
                yield range(start, stop)
            start = stop + 1
        if start < blocks.stop:
            yield range(start, blocks.stop)


class Ledger:
    """The ledger of one prefix, as one writer sees it."""

    def __init__(self, storage: Storage, request_digest: str, attempt: str, shard: int) -> None:
        self._storage = storage
        self._request_digest = request_digest
        self._attempt = attempt
        self._shard = shard
        self._parts = itertools.count()

    def survey(self, blocks: range) -> Survey:
        """Lists what there is of a run of blocks; other blocks are not listed."""
        complete, parts = set(), dict[int, tuple[str, ...]]()
        for found in self._storage.list(f"{BLOCKS}block-", after=f"{BLOCKS}block-{blocks.start:07d}"):
            key = parse_block_key(found.key)
            if key is None:
                continue
            if key.block >= blocks.stop:
                break
            if key.complete:
                complete.add(key.block)
            else:
                parts[key.block] = (*parts.get(key.block, ()), found.key)
        left = tuple(name for number, names in parts.items() if number in complete for name in names)
        begun = {number: names for number, names in parts.items() if number not in complete}
        return Survey(frozenset(complete), begun, left)

    def tidy(self, survey: Survey) -> None:
        """Removes the parts of blocks that are complete."""
        for key in survey.leftovers:
            self._storage.delete(key)

    def open(self, number: int, survey: Survey) -> Block:
        """Gives a block with what the survey found of it.

        Raises:
            DamagedRecordError: A part or manifest is damaged.
            AnotherJobError: It was written for another request.
        """
        if number in survey.complete:
            records = {record.id: record for record in self._read(block_key(number)).records}
            return Block(number, records, complete=True)
        if finished := self._finished(number):  # by another writer, since the survey
            return finished
        parts = survey.parts.get(number, ())
        read = list(self._readable(parts))
        if len(read) < len(parts) and (finished := self._finished(number)):
            return finished  # in this very moment: who finishes a block removes its parts
        records = merge_records(record for part in read for record in part.records)
        return Block(number, records, complete=False, parts=set(parts), flushed=set(records))

    def flush(self, block: Block, fresh: Sequence[ItemRecord]) -> None:
        """Writes records of an unfinished block that no part holds yet."""
        part = next(self._parts)
        key = part_key(block.number, self._attempt, part)
        header = self._header(block.number, complete=False, part=part)
        self._storage.write(key, write_block(header, fresh), "application/jsonl")
        block.parts.add(key)
        block.flushed.update(record.id for record in fresh)

    def commit(self, block: Block) -> bool:
        """Writes a block's manifest unless another writer has; the block then holds what stands.

        Returns:
            Whether the manifest that stands is this writer's, also when its own write was answered twice.
        """
        header = self._header(block.number, complete=True)
        ordered = sorted(block.records.values(), key=lambda record: (record.line, record.seed, record.id))
        key = block_key(block.number)
        creation = self._storage.create(key, write_block(header, ordered), "application/jsonl")
        ours = True
        if creation is Creation.EXISTS:
            standing = self._read(key)
            ours = standing.header.attempt == self._attempt
            block.records = {record.id: record for record in standing.records}
        block.complete = True
        for part in block.parts:
            self._storage.delete(part)
        return ours

    def _finished(self, number: int) -> Block | None:
        try:
            standing = self._read(block_key(number))
        except ObjectMissingError:
            return None
        return Block(number, {record.id: record for record in standing.records}, complete=True)

    def _readable(self, parts: tuple[str, ...]) -> Iterator[BlockManifest]:
        for part in parts:
            try:
                yield self._read(part)
            except ObjectMissingError:
                continue

    def _read(self, key: str) -> BlockManifest:
        source = f"{self._storage.uri}{key}"
        manifest = read_block(self._storage.read(key), source)
        if manifest.header.request_digest != self._request_digest:
            raise AnotherJobError(
                f"{source} was written for another request than job.json; move it away, or use another prefix"
            )
        return manifest

    def _header(self, number: int, *, complete: bool, part: int = 0) -> BlockHeader:
        return BlockHeader(
            block=number,
            complete=complete,
            request_digest=self._request_digest,
            attempt=self._attempt,
            part=part,
            shard=self._shard,
            written_at=now(),
            records=0,
            digest=sha256_digest(b""),
        )
