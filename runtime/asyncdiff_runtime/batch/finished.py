"""What is finished already: a shard of which every block is recorded needs no model, no input and no ranks."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.errors import ModelUnavailableError, OutageError, TooManyFailedItemsError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import ItemCounts, add_counts, count_records
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.launch import Ended, new_attempt
from asyncdiff_runtime.batch.ledger import Ledger, Survey
from asyncdiff_runtime.batch.models import open_parts
from asyncdiff_runtime.batch.record import Writer, begun_record, check_model
from asyncdiff_runtime.batch.recorder import refuse_failures
from asyncdiff_runtime.storage import Storage

logger = logging.getLogger(__name__)

READERS: Final = 8
"""Block manifests read at once."""


@dataclass(frozen=True)
class FinishedShard:
    """A shard of which nothing is left to do."""

    record: JobRecord
    ended: Ended
    """How an attempt at it ends."""


def finished_shard(
    job: AsyncDiffJob, places: Places, writer: Writer, shard: int, shards: int
) -> FinishedShard | None:
    """Gives a shard that is finished; None where the prefix is new or something of the shard is left to do.

    A model that cannot be had any more hinders nothing, as nothing is to be made with it. One that is there and
    has other files than the items were made with is refused, as ever.

    Raises:
        ContractError: As `begun_record`, `check_model` and `Storage`.
    """
    storage = places.open_output(job)
    record = begun_record(storage, job, places.open_worklist(job), writer)
    if record is None:
        return None
    ended = end_of_finished(storage, job, record, shard, shards)
    if ended is None:
        return None
    try:
        check_model(storage, record, open_parts(job, places, record.model).identity(job.spec.model))
    except (ModelUnavailableError, OutageError) as error:
        logger.info("the model is not looked at, for nothing is left to be made: %s", error)
    return FinishedShard(record, ended)


def end_of_finished(
    storage: Storage, job: AsyncDiffJob, record: JobRecord, shard: int, shards: int
) -> Ended | None:
    """Gives how an attempt at a shard ends of which every block is finished; None of any other.

    Raises:
        ContractError: As `Ledger` and `Storage`.
    """
    ledger = Ledger(storage, record.request_digest, new_attempt(), shard)
    blocks = blocks_of_shard(shard, shards, record.blocks.count)
    survey = ledger.survey(blocks)
    if len(survey.complete) < len(blocks):
        return None
    ledger.tidy(survey)
    counts = recorded_counts(ledger, survey)
    counts = counts.model_copy(update={"total": counts.done + counts.rejected + counts.failed})
    try:
        refuse_failures(counts, job.spec.acceptance.max_failed_items, storage.uri)
    except TooManyFailedItemsError as error:
        return Ended(error.exit_code, error.reason, str(error), counts)
    return Ended(ExitCode.DONE, Reason.ALL_ITEMS_DONE, "", counts)


def recorded_counts(ledger: Ledger, survey: Survey) -> ItemCounts:
    """Adds up what is recorded of the blocks of a survey, finished or not; `total` stays None."""
    begun = sorted({*survey.complete, *survey.parts})
    with ThreadPoolExecutor(READERS) as readers:
        counts = readers.map(
            lambda number: count_records(ledger.open(number, survey).records.values()), begun
        )
        return add_counts([ItemCounts(), *counts])
