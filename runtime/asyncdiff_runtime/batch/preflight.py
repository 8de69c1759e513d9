"""What can be refused, and what is decided, before a model is loaded: no torch process is started for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.errors import WorklistLineError, WrongJobError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.output import ConditionalWrites

from asyncdiff_runtime.batch.arguments import call_parameters, check_job, check_line
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.models import identify, locate, pipeline_class
from asyncdiff_runtime.batch.record import Writer, probe, settle_record
from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.batch.worklist import Choice, Worklist, refuse_inputs

CHECKED_AHEAD: Final = 50_000
"""Items of a shard that are checked before the model is loaded; later ones are checked when they are read."""


def prepare(job: AsyncDiffJob, places: Places, writer: Writer) -> JobRecord:
    """Checks the job as a whole and gives the record of its prefix, created if need be.

    Raises:
        ContractError: The job cannot run; see its exit code.
    """
    schedule_of(job.spec.parallelism)
    storage, worklist = places.open_output(job), places.open_worklist(job)
    section = job.spec.output.s3
    probe(storage, writer.attempt, section.conditional_writes if section else ConditionalWrites.REQUIRED)
    kind = pipeline_class(job.spec.model, locate(job.spec.model, places.volumes))
    check_job(job.spec.generate, kind, call_parameters(kind))
    return settle_record(storage, job, worklist, writer, _identifier(job, places.volumes))


def check_shard(job: AsyncDiffJob, places: Places, record: JobRecord, shard: int, shards: int) -> int:
    """Checks the first lines of a shard and gives how many items were checked.

    Raises:
        WorklistLineError: A line does not parse, or asks for what the pipeline does not have.
    """
    kind = pipeline_class(job.spec.model, locate(job.spec.model, places.volumes, record.model.commit))
    parameters = call_parameters(kind)
    resolver = Resolver(Shared.of_job(job.spec, record))
    worklist = places.open_worklist(job)
    blocks = blocks_of_shard(shard, shards, record.blocks.count)
    count = 0
    for choice in islice(_lines(worklist, blocks, record), CHECKED_AHEAD):
        refuse_inputs(choice, job.spec.generate)
        _check_choice(choice, kind, parameters)
        next(resolver.items(choice.position, choice.line))
        count += 1
    return count


def _lines(worklist: Worklist, blocks: range, record: JobRecord) -> Iterator[Choice]:
    """Gives each line of the blocks once, with the first of its seeds."""
    before = None
    for choice in worklist.choices(blocks, record.blocks):
        if choice.line is not before:
            before = choice.line
            yield choice


def _check_choice(choice: Choice, kind: Any, parameters: frozenset[str]) -> None:
    try:
        check_line(str(choice.position), choice.line, kind, parameters)
    except WrongJobError as error:  # in a line, it is the line's fault and not the job's
        raise WorklistLineError(str(error)) from error


def _identifier(job: AsyncDiffJob, volumes: dict[str, Path]) -> Callable[[str], ModelIdentity]:
    return lambda commit: identify(job.spec.model, volumes, commit)
