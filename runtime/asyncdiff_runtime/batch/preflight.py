"""What can be refused, and what is decided, before a model is loaded: no torch process is started for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.errors import InputRefusedError, WorklistLineError, WrongJobError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.job_record import JobRecord, request_digest
from asyncdiff_api.formats.request import request_of
from asyncdiff_api.formats.worklist import inputs_of
from asyncdiff_api.generate import Generate
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.output import ConditionalWrites

from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.inputs.addresses import Addresses
from asyncdiff_runtime.batch.inputs.common import addresses_of, check_common_inputs
from asyncdiff_runtime.batch.models import open_parts, plan_model
from asyncdiff_runtime.batch.record import Writer, foresee_record, probe, read_record, settle_record
from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.batch.signature import Signature, check_job, check_line, signature_of
from asyncdiff_runtime.batch.worklist import Choice, Worklist
from asyncdiff_runtime.storage import Storage

CHECKED_AHEAD: Final = 50_000
"""Items of a shard that are checked before the model is loaded; later ones are checked when they are read."""
UNKNOWN: Final = "address:unknown"
"""Stands for digests of inputs while lines are only checked."""


def prepare(job: AsyncDiffJob, places: Places, writer: Writer) -> JobRecord:
    """Checks the job as a whole and gives the record of its prefix, created if need be.

    Raises:
        ContractError: The job cannot run; see its exit code.
    """
    schedule_of(job.spec.parallelism)
    storage, section = places.open_output(job), job.spec.output.s3
    probe(storage, writer.attempt, section.conditional_writes if section else ConditionalWrites.REQUIRED)
    _check_job(job, places, storage)
    return settle_record(storage, job, places.open_worklist(job), writer, _identifier(job, places))


def foresee(job: AsyncDiffJob, places: Places, writer: Writer) -> JobRecord:
    """As `prepare`, but nothing is written, so whether the output may be is not known.

    Raises:
        ContractError: The job cannot run; see its exit code.
    """
    schedule_of(job.spec.parallelism)
    storage = places.open_output(job)
    _check_job(job, places, storage)
    return foresee_record(storage, job, places.open_worklist(job), writer, _identifier(job, places))


def _check_job(job: AsyncDiffJob, places: Places, storage: Storage) -> None:
    """Checks what a job says against its model."""
    found = read_record(storage)
    # A revision that moved on, or is gone, does not hinder a job that was begun with its commit.
    pinned = (
        found.model if found is not None and found.request_digest == request_digest(request_of(job)) else None
    )
    plan = plan_model(job.spec.model, open_parts(job, places, pinned))
    check_job(job.spec.generate, job.spec.output.format, signature_of(plan.kind, plan.adapters))
    check_common_inputs(job)


def check_shard(job: AsyncDiffJob, places: Places, record: JobRecord, shard: int, shards: int) -> int:
    """Checks the first lines of a shard and gives how many items were checked.

    Raises:
        WorklistLineError: A line does not parse, or asks for what the pipeline does not have.
        InputRefusedError: A line names an input at a place that inputs may not come from.
    """
    plan = plan_model(job.spec.model, open_parts(job, places, record.model))
    signature = signature_of(plan.kind, plan.adapters)
    resolver = Resolver(Shared.of_job(job.spec, record))
    worklist = places.open_worklist(job)
    addresses = addresses_of(job)
    blocks = blocks_of_shard(shard, shards, record.blocks.count)
    count = 0
    for choice in islice(_lines(worklist, blocks, record), CHECKED_AHEAD):
        _check_choice(choice, job.spec.generate, signature, addresses)
        unknown = dict.fromkeys(inputs_of(choice.line, job.spec.generate), UNKNOWN)
        resolver.item(choice.position, choice.line, choice.seed, unknown)
        count += 1
    return count


def _lines(worklist: Worklist, blocks: range, record: JobRecord) -> Iterator[Choice]:
    """Gives each line of the blocks once, with the first of its seeds."""
    before = None
    for choice in worklist.choices(blocks, record.blocks):
        if choice.line is not before:
            before = choice.line
            yield choice


def _check_choice(choice: Choice, generate: Generate, signature: Signature, addresses: Addresses) -> None:
    try:
        check_line(str(choice.position), choice.line, generate, signature)
        for address in inputs_of(choice.line, generate).values():
            addresses.check(address)
    except WrongJobError as error:  # in a line, it is the line's fault and not the job's
        raise WorklistLineError(str(error)) from error
    except InputRefusedError as error:
        raise InputRefusedError(f"{choice.position}: {error}") from error


def _identifier(job: AsyncDiffJob, places: Places) -> Callable[[ModelIdentity | None], ModelIdentity]:
    return lambda pinned: open_parts(job, places, pinned).identity(job.spec.model)
