"""Compares the cache with what the API server lists: at the start, every so often, and after a watch began anew.

A watch that missed events begins anew with a list, in which an object that has vanished meanwhile is simply not
there. kopf says nothing of such objects; a list of our own drops them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from asyncdiff_operator.cache import Cache, JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import ApiError
from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.resources import ASYNCDIFFJOBS, WATCHED, Resource

logger = logging.getLogger(__name__)

SETTLING_SECONDS: Final = 1.0
"""Between a watch's new beginning and the list: several watches begin together."""
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 30.0


class Resync:
    """Lists every kind in every namespace that the operator serves."""

    def __init__(
        self,
        client: ApiClient,
        cache: Cache,
        *,
        namespaces: tuple[str, ...],
        interval_seconds: float,
        on_change: Callable[[JobKey], None],
    ) -> None:
        """Serves `namespaces`, or all if there are none; `on_change` is told of the jobs concerned."""
        self._client = client
        self._cache = cache
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._wanted = asyncio.Event()
        self._done_at: float | None = None

    @property
    def synced(self) -> bool:
        """Whether the cache has once held everything."""
        return self._done_at is not None

    def age_seconds(self) -> float | None:
        """How long ago the cache was last compared; None if never."""
        return None if self._done_at is None else time.monotonic() - self._done_at

    def want(self) -> None:
        """Wants a comparison soon; to be called on this event loop."""
        self._wanted.set()

    async def once(self) -> None:
        """Compares everything, and has every job looked at.

        Raises:
            ApiError: A list failed; what was listed before it is in the cache.
        """
        for resource in WATCHED:
            for namespace in self._scopes:
                await self._list(resource, namespace)
        self._done_at = time.monotonic()
        for key in tuple(self._cache.jobs()):
            self._on_change(key)

    async def run(self) -> None:
        """Compares until cancelled; what fails is tried again."""
        rest, retry = self._interval_seconds, FIRST_RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout(rest):
                    await self._wanted.wait()
                await asyncio.sleep(SETTLING_SECONDS)
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.once()
            except ApiError as error:
                logger.warning("the cache could not be compared with the API server: %s", error)
                rest, retry = retry, min(2 * retry, LONGEST_RETRY_SECONDS)
            else:
                rest, retry = self._interval_seconds, FIRST_RETRY_SECONDS

    async def _list(self, resource: Resource, namespace: str | None) -> None:
        """Takes a list page by page: as a whole it would weigh several times what is kept of it."""
        labels = "" if resource == ASYNCDIFFJOBS else JOB_UID_LABEL
        listed: set[str] = set()
        moment = 0
        async for page in self._client.pages(resource, namespace, labels=labels):
            moment = int(page.resource_version)
            for item in page.items:
                listed.add(item["metadata"]["uid"])
                self._tell(self._cache.put(resource, item))
        self._tell(self._cache.remove_all_but(listed, resource, moment, namespace=namespace))

    def _tell(self, keys: Iterable[JobKey]) -> None:
        for key in keys:
            self._on_change(key)
