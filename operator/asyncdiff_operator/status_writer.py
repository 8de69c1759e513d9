"""Writes a job's status: only what changed, only where it was observed, and counts no oftener than need be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asyncdiff_api.status import JobStatus

from asyncdiff_operator.apply import ChangedMeanwhileError
from asyncdiff_operator.cache import Cache
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import ConflictError, NotFoundError
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import ASYNCDIFFJOBS, describe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Written:
    at: float
    wanted: Mapping[str, Any]
    stored: Mapping[str, Any]


class StatusWriter:
    """Remembers of each job what was last written, and when."""

    def __init__(
        self,
        client: ApiClient,
        cache: Cache,
        *,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Writes that are not urgent keep `interval_seconds` between them."""
        self._client = client
        self._cache = cache
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._written: dict[str, _Written] = {}

    async def write(self, job: Manifest, status: JobStatus, *, urgent: bool) -> float | None:
        """Writes the status if the stored one differs.

        Args:
            job: The job as observed; the write carries its uid and resourceVersion.
            status: The whole status as it should be.
            urgent: Whether it is written at once.

        Returns:
            The seconds after which to come again, if it is not yet time; None if nothing is left to write.

        Raises:
            ChangedMeanwhileError: The job is no longer as it was observed.
            ApiError: The API server refused or did not answer.
        """
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        found = job.get("status") or {}
        changes = difference(found, wanted)
        if not changes or self._is_not_kept(job, wanted, found):
            return None
        if not urgent and (rest := self._rest_seconds(job)) > 0:
            return rest
        await self._write(job, wanted, changes)
        return None

    def forget(self, job_uid: str) -> None:
        """Drops what is known of a job that is gone."""
        self._written.pop(job_uid, None)

    def _rest_seconds(self, job: Manifest) -> float:
        written = self._written.get(job["metadata"]["uid"])
        return 0.0 if written is None else written.at + self._interval_seconds - self._clock()

    def _is_not_kept(self, job: Manifest, wanted: Manifest, found: Manifest) -> bool:
        """Whether the API server was told this very status and has kept another: an older CRD drops fields."""
        written = self._written.get(job["metadata"]["uid"])
        return written is not None and written.wanted == wanted and written.stored == found

    async def _write(self, job: Manifest, wanted: Manifest, changes: Manifest) -> None:
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
        found = stored.get("status") or {}
        if left := difference(found, wanted):
            logger.warning(
                "the API server does not keep %s of the status: is its CRD of an older version?", sorted(left)
            )
        self._written[metadata["uid"]] = _Written(self._clock(), wanted, found)
        self._cache.put(ASYNCDIFFJOBS, stored)

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
