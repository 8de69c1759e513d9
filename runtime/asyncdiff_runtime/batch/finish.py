"""The finish step: one manifest of all blocks, the gallery, and the word whether the job succeeded.

It may be run again at any time after the shards have ended: it reads the ledger and replaces what it wrote.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from asyncdiff_api.formats.blocks import BlockUnit
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.layout import FAILED, MANIFEST, MANIFEST_LINES, SUCCESS
from asyncdiff_api.formats.manifest import (
    Completion,
    ItemCounts,
    Manifest,
    add_counts,
    count_records,
    read_records,
)
from asyncdiff_api.formats.result import OutputKeys, Result
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.prefix import blocks_in_order
from asyncdiff_runtime.batch.record import names_of, now, versions
from asyncdiff_runtime.batch.showing import Shown, about_job, show
from asyncdiff_runtime.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What `manifest.jsonl` came to hold."""

    counts: ItemCounts
    missing_blocks: int
    digest: str
    size: int


def finish(
    storage: Storage, job: AsyncDiffJob, record: JobRecord, attempt: str, failure: str = ""
) -> Manifest:
    """Writes manifest, gallery and `_SUCCESS` or `_FAILED`; the latter two last, and never both.

    Args:
        storage: The output prefix.
        job: The job.
        record: The prefix's record.
        attempt: Names this run of the step.
        failure: What ended a shard early, in a sentence; empty if nothing did.

    Raises:
        DamagedRecordError: A manifest of a block is damaged.
        OutputRefusedError: As `Storage`.
        OutageError: As `Storage`.
    """
    storage.remove_unfinished()
    ledger = Ledger(storage, record.request_digest, attempt, 0)
    shown = None
    with tempfile.TemporaryDirectory(prefix="asyncdiff-") as folder:
        path = Path(folder) / MANIFEST_LINES
        with path.open("wb") as file:
            lines = _merge(ledger, record, file)
        storage.write_file(MANIFEST_LINES, path, "application/jsonl")
        if job.spec.output.gallery:
            with path.open("rb") as file:
                records = (item for line in file for item in read_records(line, MANIFEST_LINES))
                about = about_job(record, lines.counts, title=job.metadata.name or "")
                shown = show(storage, storage.write, records, about)
    manifest = _manifest(job, record, lines, shown, failure)
    storage.write(MANIFEST, manifest.to_pretty(), "application/json")
    _conclude(storage, manifest)
    return manifest


def result_of(manifest: Manifest, shards: int, attempt: str) -> Result:
    """Gives the termination message of the finish step: the totals of the whole job."""
    return Result(
        scope="Job",
        shards=shards,
        attempt=attempt,
        sequence=0,
        final=True,
        exit_code=0,
        reason=manifest.reason,
        message=manifest.message,
        items=manifest.items,
        output=OutputKeys(manifest=MANIFEST, gallery=manifest.gallery or ""),
    )


def _merge(ledger: Ledger, record: JobRecord, file: IO[bytes]) -> Lines:
    digest, size, missing = hashlib.sha256(), 0, 0
    parts = [ItemCounts(total=0)]
    for block in blocks_in_order(ledger, record.blocks.count):
        missing += not block.complete
        counts = count_records(block.records.values())
        known = counts.done + counts.rejected + counts.failed
        parts = [add_counts([*parts, counts.model_copy(update={"total": known if block.complete else None})])]
        for item in block.records.values():
            line = item.to_line() + b"\n"
            digest.update(line)
            size += file.write(line)
    counts = parts[0]
    if counts.total is None and record.blocks.unit is BlockUnit.ITEMS:
        counts = counts.model_copy(update={"total": record.blocks.total - counts.duplicates})
    return Lines(counts=counts, missing_blocks=missing, digest=f"sha256:{digest.hexdigest()}", size=size)


def _manifest(
    job: AsyncDiffJob, record: JobRecord, lines: Lines, shown: Shown | None, failure: str
) -> Manifest:
    counts, allowed = lines.counts, job.spec.acceptance.max_failed_items
    lost = counts.failed + counts.rejected
    succeeded = not lines.missing_blocks and lost <= allowed
    if lines.missing_blocks:
        reason = Reason.SHARDS_FAILED
        message = (
            failure or f"{lines.missing_blocks} of {record.blocks.count} blocks are unfinished; run it again"
        )
    elif not succeeded:
        reason = Reason.TOO_MANY_FAILED_ITEMS
        message = (
            f"{counts.failed} items failed and {counts.rejected} were rejected, where {allowed} are allowed"
        )
    else:
        reason = Reason.DONE_WITH_FAILED_ITEMS if lost else Reason.ALL_ITEMS_DONE
        message = ""
    return Manifest(
        job=names_of(job, ""),
        request_digest=record.request_digest,
        succeeded=succeeded,
        reason=reason,
        message=message,
        items=counts,
        blocks=record.blocks.count,
        missing_blocks=lines.missing_blocks,
        lines_digest=lines.digest,
        lines_bytes=lines.size,
        gallery=shown.page if shown else None,
        contact_sheet=shown.contact_sheet if shown else None,
        started_at=record.created_at,
        finished_at=now(),
        versions=versions(),
    )


def _conclude(storage: Storage, manifest: Manifest) -> None:
    """Removes the word of an earlier run before it gives this one's."""
    word, other = (SUCCESS, FAILED) if manifest.succeeded else (FAILED, SUCCESS)
    completion = Completion(
        succeeded=manifest.succeeded,
        request_digest=manifest.request_digest,
        items=manifest.items,
        reason=manifest.reason,
        message=manifest.message,
        finished_at=manifest.finished_at,
    )
    storage.delete(other)
    storage.write(word, completion.to_pretty(), "application/json")
