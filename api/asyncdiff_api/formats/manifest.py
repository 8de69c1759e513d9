"""The ledger: records of items, manifests of blocks, and the manifest of the whole job.

A block manifest is JSON lines: a header, then a record for each distinct item. The header counts the
records and holds the digest of their bytes, so a file that was cut short is seen. `manifest.jsonl` is
records alone, for the next program to read as a table; `manifest.json` beside it carries version, totals
and digest.

What is known of a block is the union of its parts and, once it is finished, its manifest. The union does not
depend on the order in which they are read, nor on one being read twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from asyncdiff_api.formats.canonical import sha256_digest
from asyncdiff_api.formats.document import Document, FormatModel, first_problem
from asyncdiff_api.formats.errors import DamagedRecordError
from asyncdiff_api.formats.identity import ItemId, JsonMap
from asyncdiff_api.formats.primitives import (
    Attempt,
    Count,
    Digest,
    HexDigest,
    Message,
    Seconds,
    Seed,
    Version,
)


class Outcome(StrEnum):
    """What became of an item."""

    ACCEPTED = "Accepted"
    """It lies under `items/`."""
    REJECTED = "Rejected"
    """It was made and failed acceptance (blank, NaN, undecodable); it lies under `rejected/` if it can."""
    FAILED = "Failed"
    """It could not be made."""


_RANK = {Outcome.ACCEPTED: 0, Outcome.REJECTED: 1, Outcome.FAILED: 2}


class ItemRecord(FormatModel):
    """One item in a manifest."""

    id: ItemId
    outcome: Outcome
    block: Count
    line: Annotated[int, Field(ge=1)]
    """Line of the worklist, from 1; of those that start in the block where `offset` is given."""
    offset: Count | None = None
    """Offset in bytes of the line in a worklist that is divided by bytes."""
    duplicates: Count = 0
    """How many more lines of the block asked for the same item."""
    line_id: str | None = None
    """The `id` that the line gave itself."""
    labels: JsonMap | None = None
    prompt: str = ""
    seed: Seed
    key: str | None = None
    """Key of the picture or video relative to the output prefix; a folder of frames ends with a slash."""
    bytes: Count | None = None
    sha256: HexDigest | None = None
    """Digest of the object; of a folder of frames, of the frames' digests one after another."""
    width: Count | None = None
    height: Count | None = None
    frames: Count | None = None
    seconds: Seconds | None = None
    """Time of its generation; in a batch, its share."""
    reason: str | None = None
    """Why it was not accepted, one word in CamelCase."""
    message: Message | None = None
    report: JsonMap | None = None
    """What the strategy says of the generation, such as evaluations predicted, accepted and rejected."""


class ItemCounts(FormatModel):
    """Counts of items; `done + rejected + failed` approaches `total`."""

    total: Count | None = None
    """Distinct items; None while not every line has been counted."""
    done: Count = 0
    rejected: Count = 0
    failed: Count = 0
    duplicates: Count = 0
    """Lines beyond the first that asked for the same item."""


class BlockHeader(Document):
    """First line of a block manifest or of a part of one."""

    format: Literal["block-manifest"] = "block-manifest"
    version: Version = "1.0"
    block: Count
    complete: bool
    request_digest: Digest
    """Of the job that the prefix belongs to."""
    attempt: Attempt
    """Names the writer: who reads back its own attempt knows that its retried write had succeeded."""
    part: Count = 0
    shard: Count | None = None
    written_at: AwareDatetime
    records: Count
    digest: Digest
    """Of all bytes after the header's newline."""


class BlockManifest(FormatModel):
    """A block manifest as it is read."""

    header: BlockHeader
    records: tuple[ItemRecord, ...]


class Manifest(Document):
    """`manifest.json`: the whole job, written by the finish step."""

    format: Literal["manifest"] = "manifest"
    version: Version = "1.0"
    job: JsonMap = Field(default_factory=dict)
    """Name, namespace and uid of the job that ended it."""
    request_digest: Digest
    succeeded: bool
    reason: str
    message: Message = ""
    items: ItemCounts
    blocks: Count
    missing_blocks: Count = 0
    """Blocks without a finished manifest; 0 when the job succeeded."""
    lines: str = "manifest.jsonl"
    lines_digest: Digest
    lines_bytes: Count
    gallery: str | None = None
    """Key of the gallery's page."""
    contact_sheet: str | None = None
    """Key of the contact sheet; None where no picture was made, or no gallery was asked for."""
    started_at: AwareDatetime
    finished_at: AwareDatetime
    gpu_seconds: dict[str, Seconds] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class Completion(Document):
    """Content of `_SUCCESS` and `_FAILED`."""

    format: Literal["completion"] = "completion"
    version: Version = "1.0"
    succeeded: bool
    request_digest: Digest
    items: ItemCounts
    reason: str
    message: Message = ""
    manifest: str = "manifest.json"
    finished_at: AwareDatetime


def write_block(header: BlockHeader, records: Iterable[ItemRecord]) -> bytes:
    """Gives the bytes of a block manifest or part, with the header's `records` and `digest` filled in."""
    lines = [record.to_line() for record in records]
    body = b"".join(line + b"\n" for line in lines)
    filled = header.model_copy(update={"records": len(lines), "digest": sha256_digest(body)})
    return filled.to_line() + b"\n" + body


def read_block(data: bytes, source: str) -> BlockManifest:
    """Reads a block manifest or part.

    Args:
        data: The object's bytes.
        source: Where it was read, for error messages.

    Raises:
        DamagedRecordError: It was cut short or altered, or is something else.
        UnsupportedVersionError: It is of another major version.
    """
    first, _, body = data.partition(b"\n")
    header = BlockHeader.parse(first, source)
    if sha256_digest(body) != header.digest:
        raise DamagedRecordError(
            f"{source} should hold {header.records} records with digest {header.digest} and holds others; "
            "delete it, and its items are made again"
        )
    return BlockManifest(header=header, records=tuple(read_records(body, source)))


def read_records(data: bytes, source: str) -> Iterable[ItemRecord]:
    """Reads records, one a line, such as those of `manifest.jsonl`.

    Raises:
        DamagedRecordError: A line is not a record.
    """
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield ItemRecord.model_validate_json(line)
        except ValidationError as error:
            raise DamagedRecordError(f"{source}, record {number}: {first_problem(error)}") from error


def merge_records(records: Iterable[ItemRecord]) -> dict[str, ItemRecord]:
    """Gives one record for each item id: accepted before rejected before failed, then the least by its text.

    The result does not depend on the order or number of times in which records are given.
    """
    merged: dict[str, ItemRecord] = {}
    for record in records:
        known = merged.get(record.id)
        if known is None or _preference(record) < _preference(known):
            merged[record.id] = record
    return merged


def count_records(records: Iterable[ItemRecord]) -> ItemCounts:
    """Counts records of distinct items; `total` stays None: records do not know what is to come."""
    tally = dict.fromkeys(Outcome, 0)
    duplicates = 0
    for record in records:
        tally[record.outcome] += 1
        duplicates += record.duplicates
    return ItemCounts(
        done=tally[Outcome.ACCEPTED],
        rejected=tally[Outcome.REJECTED],
        failed=tally[Outcome.FAILED],
        duplicates=duplicates,
    )


def add_counts(counts: Iterable[ItemCounts]) -> ItemCounts:
    """Adds the counts of shards that share no block; `total` is None while that of any of them is."""
    parts = list(counts)
    totals = [part.total for part in parts if part.total is not None]
    return ItemCounts(
        total=sum(totals) if len(totals) == len(parts) else None,
        done=sum(part.done for part in parts),
        rejected=sum(part.rejected for part in parts),
        failed=sum(part.failed for part in parts),
        duplicates=sum(part.duplicates for part in parts),
    )


def _preference(record: ItemRecord) -> tuple[int, bytes]:
    return _RANK[record.outcome], record.to_line()
