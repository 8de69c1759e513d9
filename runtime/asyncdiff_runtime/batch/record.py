"""`job.json`: created by the first writer, obeyed by all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from asyncdiff_api.formats.errors import (
    AnotherJobError,
    ConditionalWritesUnsupportedError,
    OutputExistsError,
)
from asyncdiff_api.formats.identity import JsonMap, ModelIdentity
from asyncdiff_api.formats.job_record import JobRecord, request_digest
from asyncdiff_api.formats.layout import JOB_RECORD, probe_key
from asyncdiff_api.formats.request import request_of
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.output import ConditionalWrites, OnExisting

from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.batch.worklist import Worklist
from asyncdiff_runtime.storage import Creation, ObjectMissingError, Storage


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who writes to a prefix."""

    attempt: str
    """8 hexadecimal digits that no other writer has."""
    run: str
    """What the writers of one job have in common: the job's uid, or a name of the local run."""


def settle_record(
    storage: Storage,
    job: AsyncDiffJob,
    worklist: Worklist,
    writer: Writer,
    identify: Callable[[ModelIdentity | None], ModelIdentity],
) -> JobRecord:
    """Gives the prefix's record: the one that is there if it is of the same request, else a new one.

    Args:
        storage: The output prefix.
        job: The job.
        worklist: Its worklist.
        writer: Who asks.
        identify: Resolves the job's model, given what is pinned already, or None.

    Raises:
        AnotherJobError: The prefix belongs to another request, or the model's files are others.
        WorklistChangedError: The worklist is not the one that the prefix was begun with.
        OutputExistsError: The prefix is another run's and the job says `onExisting: Fail`.
    """
    settled = foresee_record(storage, job, worklist, writer, identify)
    if settled.attempt != writer.attempt:
        return settled
    if storage.create(JOB_RECORD, settled.to_pretty(), "application/json") is Creation.CREATED:
        return settled
    # Another writer was faster in this very moment, or the answer to one's own write was lost.
    return foresee_record(storage, job, worklist, writer, identify)


def foresee_record(
    storage: Storage,
    job: AsyncDiffJob,
    worklist: Worklist,
    writer: Writer,
    identify: Callable[[ModelIdentity | None], ModelIdentity],
) -> JobRecord:
    """Gives the record that `settle_record` would give, and writes nothing; otherwise as that."""
    found = begun_record(storage, job, worklist, writer)
    if found is None:
        return _proposal(job, worklist, writer, identify(None))
    check_model(storage, found, identify(found.model))
    return found


def begun_record(storage: Storage, job: AsyncDiffJob, worklist: Worklist, writer: Writer) -> JobRecord | None:
    """Gives the record of a prefix that this job may go on with; None where nothing was begun.

    Raises:
        AnotherJobError: The prefix belongs to another request.
        WorklistChangedError: The worklist is not the one that the prefix was begun with.
        OutputExistsError: The prefix is another run's and the job says `onExisting: Fail`.
    """
    found = own_record(storage, job, writer)
    if found is not None and worklist.source is not None:
        found.check_worklist(worklist.source)
    return found


def own_record(storage: Storage, job: AsyncDiffJob, writer: Writer) -> JobRecord | None:
    """As `begun_record`, without a look at the worklist."""
    found = read_record(storage)
    if found is None:
        return None
    found.obey(request_of(job), f"{storage.uri}{JOB_RECORD}")
    owner = found.job.get("uid")
    if job.spec.output.on_existing is OnExisting.FAIL and owner != (job.metadata.uid or writer.run):
        raise OutputExistsError(
            f"{storage.uri} holds the job {found.job.get('name', '(no name)')} of {found.created_at:%Y-%m-%d %H:%M} "
            "already and output.onExisting is Fail; use another prefix, or Skip to resume it"
        )
    return found


def check_model(storage: Storage, record: JobRecord, here: ModelIdentity) -> None:
    """Checks that the model's files are those that the record pins.

    Raises:
        AnotherJobError: A part has other files; names it.
    """
    if here != record.model:
        raise AnotherJobError(
            f"{storage.uri}{JOB_RECORD} pins {_other_part(record.model, here)}; put those files back, or use "
            "another prefix"
        )


def read_record(storage: Storage) -> JobRecord | None:
    """Gives the record of a prefix; None where there is none.

    Raises:
        DamagedRecordError: It is something else.
        UnsupportedVersionError: It is of another major version.
    """
    try:
        return JobRecord.parse(storage.read(JOB_RECORD), f"{storage.uri}{JOB_RECORD}")
    except ObjectMissingError:
        return None


def probe(storage: Storage, attempt: str, conditional: ConditionalWrites) -> None:
    """Tries whether the output can be written, conditionally, and removed.

    Raises:
        OutputRefusedError: A permission or the bucket is missing.
        ConditionalWritesUnsupportedError: A second conditional write went through.
    """
    key = probe_key(attempt)
    storage.create(key, b"first")
    again = storage.create(key, b"second")
    left = storage.read(key)
    storage.delete(key)
    required = conditional is ConditionalWrites.REQUIRED
    if required and (again is Creation.CREATED or left != b"first"):
        raise ConditionalWritesUnsupportedError(
            f"{storage.uri} took a second conditional write of one key, so two pods could record one item "
            "twice; use a store that honours If-None-Match, or set output.s3.conditionalWrites: BestEffort"
        )


def versions() -> dict[str, str]:
    """Gives the versions of what decides pixels."""
    found = {}
    for name in ("asyncdiff-operator", "diffusers", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> datetime:
    """Gives the time of day with its zone."""
    return datetime.now(UTC)


def names_of(job: AsyncDiffJob, run: str) -> JsonMap:
    """Gives the job's names for people."""
    names = {"name": job.metadata.name, "namespace": job.metadata.namespace, "uid": job.metadata.uid or run}
    return {key: value for key, value in names.items() if value}


def _other_part(there: ModelIdentity, here: ModelIdentity) -> str:
    """Says which part of a model has other files than the record pins."""
    parts = [
        ("the model", there.source, there.commit, here.commit),
        ("the VAE", there.vae, there.vae_commit, here.vae_commit),
        *(
            (f"the {mine.kind}", mine.source, mine.commit, other.commit)
            for mine, other in zip(there.adapters, here.adapters, strict=True)
        ),
    ]
    what, source, pinned, found = next((part for part in parts if part[2] != part[3]), parts[0])
    return f"{what} {source} at {pinned}, and here it is {found}"


def _proposal(job: AsyncDiffJob, worklist: Worklist, writer: Writer, model: ModelIdentity) -> JobRecord:
    request = request_of(job)
    return JobRecord(
        request_digest=request_digest(request),
        request=request,
        model=model,
        schedule=schedule_of(job.spec.parallelism),
        worklist=worklist.source,
        blocks=worklist.blocking,
        job=names_of(job, writer.run),
        attempt=writer.attempt,
        created_at=now(),
        versions=versions(),
    )
