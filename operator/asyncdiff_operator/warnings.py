"""What Kubernetes warns of in a namespace, read once for all jobs that want to know.

The API server has no index of events: asked for those of one object it reads all of the namespace. A hundred jobs
whose pods wait, each asking for itself, have kept one from everything else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import EVENTS

SHARED_SECONDS: Final = 10.0
"""For how long what was read is good enough for the next job that asks."""

Warned = Mapping[str, str]
"""The newest warning about each object, by the object's uid."""


class Warnings:
    """Reads the warnings of namespaces."""

    def __init__(self, client: ApiClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[str, tuple[float, Warned]] = {}
        self._reading: dict[str, asyncio.Task[Warned]] = {}

    async def of(self, namespace: str) -> Warned:
        """Gives the warnings of a namespace, at most `SHARED_SECONDS` old.

        Raises:
            ApiError: The API server refused or did not answer; all that waited for the answer hear it.
        """
        read_at, known = self._read.get(namespace, (float("-inf"), {}))
        if self._clock() - read_at < SHARED_SECONDS:
            return known
        if (reading := self._reading.get(namespace)) is None:
            reading = asyncio.create_task(self._list(namespace))
            self._reading[namespace] = reading
            reading.add_done_callback(lambda _: self._reading.pop(namespace, None))
        return await asyncio.shield(reading)

    async def _list(self, namespace: str) -> Warned:
        newest: dict[str, tuple[str, str]] = {}
        async for page in self._client.pages(EVENTS, namespace, fields="type=Warning"):
            for event in page.items:
                uid = event["involvedObject"].get("uid", "")
                said = f"{event.get('reason', '')}: {event.get('message', '').strip()}"
                newest[uid] = max(newest.get(uid, ("", "")), (_moment(event), said))
        warned = {uid: said for uid, (_, said) in newest.items()}
        now = self._clock()
        self._read = {name: read for name, read in self._read.items() if now - read[0] < SHARED_SECONDS}
        self._read[namespace] = now, warned
        return warned


def _moment(event: Manifest) -> str:
    """When an event last happened, as text that sorts by time."""
    series = event.get("series") or {}
    moments = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(moment) for moment in moments if moment), event["metadata"]["creationTimestamp"])
