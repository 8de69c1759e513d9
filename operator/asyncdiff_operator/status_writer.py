"""Writes a job's status: only what changed, only where it was observed, and counts no oftener than need be.

Jobs that run share what the API server is given to do: with many of them, each one's counts are written less often.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from asyncdiff_api.status import JobStatus

from asyncdiff_operator.allowance import Allowance
from asyncdiff_operator.apply import ChangedMeanwhileError
from asyncdiff_operator.cache import Cache, JobKey, version_of
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import ConflictError, NotFoundError
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import ASYNCDIFFJOBS, describe

logger = logging.getLogger(__name__)

AT_ONCE: Final = 10
"""Writes that a job may have at once; beyond these, one every interval, however often its conditions turn."""
FIRST_SECONDS: Final = 1.0
"""What a job's first status waits for at most that is not urgent: its pods may be there by then."""
WRITES_PER_SECOND: Final = 20.0
"""Of statuses that are not urgent, of all jobs together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a status."""

    job: Manifest
    """The job as it is stored."""
    rest_seconds: float | None = None
    """The seconds after which to come again, if it was not yet time; None if nothing is left to write."""


@dataclass(slots=True)
class _Record:
    """The writes of one job's status."""

    allowance: Allowance
    first_at: float
    """From when on a first status that is not urgent may be written."""
    written_at: float | None = None
    not_kept: tuple[Manifest, Manifest] | None = None
    """What was written last and what was stored, where these differ."""


class StatusWriter:
    """Remembers of each job when its status was written."""

    def __init__(
        self,
        client: ApiClient,
        cache: Cache,
        *,
        interval_seconds: float,
        writes_per_second: float = WRITES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keeps writes of one job that are not urgent apart.

        Args:
            client: Guarded by the Lease.
            cache: Is told of what was stored.
            interval_seconds: At least so far; 0 keeps none back.
            writes_per_second: At least so far that all jobs that run make no more of them together.
            clock: Monotonic seconds.
        """
        self._client = client
        self._cache = cache
        self._interval_seconds = interval_seconds
        self._writes_per_second = writes_per_second
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._running: set[str] = set()

    async def write(self, job: Manifest, status: JobStatus, *, urgent: bool) -> Outcome:
        """Writes the status if the stored one differs and it is time.

        Args:
            job: The job as observed; the write carries its uid and resourceVersion.
            status: The whole status as it should be.
            urgent: Whether it need not keep its interval.

        Raises:
            ChangedMeanwhileError: The job is no longer as it was observed.
            ApiError: The API server refused or did not answer.
        """
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        found = job.get("status") or {}
        changes = difference(found, wanted)
        record = self._record(job)
        # An older CRD drops fields: then the API server was told this very status and has kept another.
        if not changes or record.not_kept == (wanted, found):
            return Outcome(job)
        if (rest := self._rest_seconds(record, urgent=urgent)) > 0:
            return Outcome(job, rest)
        stored = await self._write(job, changes)
        self._note_run(job, status)
        record.written_at = self._clock()
        record.allowance.use(record.written_at)
        kept = stored.get("status") or {}
        left = difference(kept, wanted)
        record.not_kept = (wanted, kept) if left else None
        if left:
            logger.warning(
                "the API server does not keep %s of the status: is its CRD of an older version?", sorted(left)
            )
        return Outcome(stored)

    def forget(self, job_uid: str) -> None:
        """Drops what is known of a job that is gone."""
        self._records.pop(job_uid, None)
        self._running.discard(job_uid)

    def _record(self, job: Manifest) -> _Record:
        if (record := self._records.get(job["metadata"]["uid"])) is None:
            now = self._clock()
            full = Allowance(at_once=AT_ONCE, seconds_each=self._interval_seconds, now=now)
            record = _Record(full, first_at=now + min(FIRST_SECONDS, self._interval_seconds))
            self._records[job["metadata"]["uid"]] = record
        return record

    def _note_run(self, job: Manifest, status: JobStatus) -> None:
        change = self._running.add if status.completion_time is None else self._running.discard
        change(job["metadata"]["uid"])

    def _interval(self) -> float:
        """Seconds between two writes of one job's counts, by how many jobs run."""
        shared = len(self._running) / self._writes_per_second
        return max(self._interval_seconds, shared) if self._interval_seconds else 0.0

    def _rest_seconds(self, record: _Record, *, urgent: bool) -> float:
        now = self._clock()
        rest = record.allowance.rest_seconds(now)
        if urgent:
            return rest
        if record.written_at is None:
            return max(rest, record.first_at - now)
        return max(rest, record.written_at + self._interval() - now)

    async def _write(self, job: Manifest, changes: Manifest) -> Manifest:
        metadata = job["metadata"]
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            stored = await self._client.merge(
                job, {"metadata": precondition, "status": changes}, subresource="status"
            )
        except NotFoundError as error:
            self._cache.remove(ASYNCDIFFJOBS, job)
            raise ChangedMeanwhileError(f"{describe(job)} is gone") from error
        except ConflictError as error:
            await self._look_again(job)
            raise ChangedMeanwhileError(f"{describe(job)} was changed meanwhile: {error}") from error
        self._cache.put(ASYNCDIFFJOBS, stored)
        known = self._cache.job(JobKey.of(job))  # without what nobody reads
        return known if known is not None and version_of(known) == version_of(stored) else stored

    async def _look_again(self, job: Manifest) -> None:
        metadata = job["metadata"]
        try:
            found = await self._client.get(ASYNCDIFFJOBS, metadata["namespace"], metadata["name"])
        except NotFoundError:
            self._cache.remove(ASYNCDIFFJOBS, job)
            return
        if found["metadata"]["uid"] != metadata["uid"]:
            self._cache.remove(ASYNCDIFFJOBS, job)
        self._cache.put(ASYNCDIFFJOBS, found)


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the merge patch (RFC 7386) that turns one document into another; empty if they are equal."""
    patch: dict[str, Any] = {name: None for name in found if name not in wanted}
    for name, value in wanted.items():
        before = found.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := difference(before, value):
                patch[name] = inner
        elif name not in found or before != value:
            patch[name] = value
    return patch
