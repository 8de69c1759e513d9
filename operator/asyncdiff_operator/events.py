"""Writes events, the lines of `kubectl describe`: each once while it stands, counted when it comes again.

An event's name is made from what it says, so one that an earlier operator wrote is found again by its name, and
nothing has to be read at the start. Events are for people: that one could not be written stops nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asyncdiff_operator.allowance import Allowance
from asyncdiff_operator.client import ApiClient, Document
from asyncdiff_operator.errors import AlreadyExistsError, ApiError, NotFoundError
from asyncdiff_operator.intent import Event
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import EVENTS

logger = logging.getLogger(__name__)

COMPONENT: Final = "asyncdiff-operator"
MAX_MESSAGE_CHARACTERS: Final = 1024
BURST: Final = 25
"""Events that a job may have at once; then one every `SECONDS_PER_EVENT`."""
SECONDS_PER_EVENT: Final = 60.0


@dataclass(slots=True)
class _Record:
    """What was written of one job."""

    allowance: Allowance
    standing: frozenset[str] | None = None
    """Names of the events of the plan before; None if there was none in this process's life."""


class EventRecorder:
    """Remembers of each job which events stand."""

    def __init__(
        self,
        client: ApiClient,
        *,
        instance: str,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Signs events with `instance`, this replica's name."""
        self._client = client
        self._instance = instance
        self._now = now
        self._clock = clock
        self._records: dict[str, _Record] = {}

    async def record(self, job: Manifest, events: Iterable[Event]) -> tuple[Event, ...]:
        """Writes those of a plan's events that did not stand in the plan before, and gives them.

        Raises:
            LeadershipLostError: Another replica may be writing.
        """
        record = self._record(job)
        by_name = {name_of(job, event): event for event in events}
        first_plan, before = record.standing is None, record.standing or frozenset()
        record.standing = frozenset(by_name)
        news = {name: event for name, event in by_name.items() if name not in before}
        for name, event in news.items():
            if record.allowance.rest_seconds(now := self._clock()) <= 0:
                record.allowance.use(now)
                await self._write(job, name, event, count_again=not first_plan)
        return tuple(news.values())

    def forget(self, job_uid: str) -> None:
        """Drops what is known of a job that is gone."""
        self._records.pop(job_uid, None)

    def _record(self, job: Manifest) -> _Record:
        full = Allowance(at_once=BURST, seconds_each=SECONDS_PER_EVENT, now=self._clock())
        return self._records.setdefault(job["metadata"]["uid"], _Record(full))

    async def _write(self, job: Manifest, name: str, event: Event, *, count_again: bool) -> None:
        manifest = self._manifest(job, name, event)
        try:
            await self._client.create(manifest)
        except AlreadyExistsError:
            if count_again:
                await self._count(manifest)
        except ApiError as error:
            logger.warning("an event could not be written: %s", error)

    async def _count(self, manifest: Document) -> None:
        metadata = manifest["metadata"]
        try:
            found = await self._client.get(EVENTS, metadata["namespace"], metadata["name"])
            changes = {"count": int(found.get("count") or 1) + 1, "lastTimestamp": manifest["lastTimestamp"]}
            await self._client.merge(manifest, changes)
        except NotFoundError:
            return  # it has just expired
        except ApiError as error:
            logger.warning("an event could not be counted: %s", error)

    def _manifest(self, job: Manifest, name: str, event: Event) -> dict[str, Any]:
        metadata = job["metadata"]
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": job["apiVersion"],
                "kind": job["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": event.type,
            "reason": event.reason.value,
            "message": _shortened(event.message),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }


def name_of(job: Manifest, event: Event) -> str:
    """Gives the name under which what an event says of this very job is found again."""
    said = "\0".join((job["metadata"]["uid"], event.type, event.reason.value, event.message))
    return f"{job['metadata']['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _shortened(message: str) -> str:
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    return message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
