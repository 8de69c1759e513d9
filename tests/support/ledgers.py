"""Prefixes with a ledger and no pictures, for what reads the ledger alone; needs neither torch nor Pillow."""

from __future__ import annotations

from collections.abc import Iterable

from asyncdiff_api.formats.canonical import sha256_digest
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.layout import part_key
from asyncdiff_api.formats.manifest import (
    BlockHeader,
    Completion,
    ItemCounts,
    ItemRecord,
    Outcome,
    write_block,
)
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.launch import new_attempt
from asyncdiff_runtime.batch.ledger import Block, Ledger
from asyncdiff_runtime.batch.record import Writer, now, settle_record
from asyncdiff_runtime.batch.worklist import inline_worklist
from asyncdiff_runtime.storage import Storage

from support.jobs import job as document

MODEL = ModelIdentity(source="bundled:painting", commit="sha256:0123456789abcdef", dtype="float32")


def begin(storage: Storage, items: int) -> JobRecord:
    """A prefix of a job of so many items, of which nothing is recorded; each is a block of its own."""
    job = load(document({"spec.generate": {"prompts": ["a fox"], "seeds": {"count": items}}}))
    writer = Writer(attempt=new_attempt(), run="run")
    return settle_record(storage, job, inline_worklist(job.spec.generate), writer, lambda _: MODEL)


def entry(block: int, outcome: Outcome = Outcome.ACCEPTED) -> ItemRecord:
    """The record of a block's only item."""
    return ItemRecord(
        id=f"{block:024x}", outcome=outcome, block=block, line=1, prompt="a fox", seed=block, seconds=2.0
    )


def record_blocks(
    storage: Storage, record: JobRecord, blocks: Iterable[int], shard: int = 0, failed: Iterable[int] = ()
) -> None:
    """Commits blocks whose items are accepted, or have failed."""
    ledger = Ledger(storage, record.request_digest, new_attempt(), shard)
    lost = frozenset(failed)
    for number in blocks:
        made = entry(number, Outcome.FAILED if number in lost else Outcome.ACCEPTED)
        ledger.commit(Block(number, {made.id: made}, complete=False))


def flush(storage: Storage, record: JobRecord, block: int, shard: int = 0) -> None:
    """Writes a part of a block, which stays unfinished."""
    header = BlockHeader(
        block=block,
        complete=False,
        request_digest=record.request_digest,
        attempt=new_attempt(),
        shard=shard,
        written_at=now(),
        records=0,
        digest=sha256_digest(b""),
    )
    storage.write(part_key(block, header.attempt, 0), write_block(header, [entry(block)]))


def conclude(storage: Storage, record: JobRecord, reason: str, message: str = "") -> None:
    """Writes the word of a job that has failed."""
    completion = Completion(
        succeeded=False,
        request_digest=record.request_digest,
        items=ItemCounts(total=6, done=5, failed=1),
        reason=reason,
        message=message,
        finished_at=now(),
    )
    storage.write("_FAILED", completion.to_pretty(), "application/json")
