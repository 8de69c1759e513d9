"""Watches, by kopf: its handlers hand every event to the cache, and nothing else.

kopf runs on a thread and an event loop of its own: it takes over a loop's signals, and when it ends it cancels
every task that it finds. Should it end, it is started again; what it missed meanwhile comes by its lists, and
what vanished meanwhile by ours, for which its session reports each list that it makes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import kopf

from asyncdiff_operator.credentials import Credentials
from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import CHILDREN, WATCHED, Resource

logger = logging.getLogger(__name__)

SERVER_SECONDS: Final = 300
"""For how long one watch lasts; then the next one begins where it ended."""
INACTIVITY_SECONDS: Final = 100.0
"""The API server sends a bookmark every minute; a watch that is silent for longer is dead."""
QUIET_SECONDS: Final = 3 * SERVER_SECONDS
"""A watcher that has sent no request for so long hangs."""
PAGE_ITEMS: Final = 500
RETRY_SECONDS: Final = (1.0, 2.0, *(5.0,) * 720)
"""Between attempts while the API server is away: for an hour, before the watches are given up and begun anew."""
STOP_SECONDS: Final = 5.0

OnEvent = Callable[[Resource, str | None, Manifest], None]
"""Takes an event: the kind, ADDED, MODIFIED, DELETED or None for one of a list, and the object."""


class Watcher:
    """Watches jobs and their children until it is stopped."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        namespaces: tuple[str, ...],
        on_event: OnEvent,
        on_list: Callable[[], None],
        user_agent: str,
    ) -> None:
        """Watches `namespaces`, or all if there are none; the callbacks are called on the loop that calls `run`."""
        self._credentials = credentials
        self._namespaces = namespaces
        self._on_event = on_event
        self._on_list = on_list
        self._user_agent = user_agent
        self._requested_at = time.monotonic()

    @property
    def healthy(self) -> bool:
        """Whether watches are being asked for, with success or without."""
        return time.monotonic() - self._requested_at < QUIET_SECONDS

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            await self._run_once(asyncio.get_running_loop())
            logger.warning("the watches ended and are begun again")
            await asyncio.sleep(1.0)

    async def _run_once(self, home: asyncio.AbstractEventLoop) -> None:
        stop, ended = threading.Event(), asyncio.Event()

        def watch() -> None:
            try:
                kopf.run(
                    registry=self._registry(home),
                    settings=_settings(),
                    standalone=True,
                    # without one kopf asks for the user's name, which a pod's user need not have
                    identity=self._user_agent,  # type: ignore[arg-type]  # -- a NewType that kopf keeps to itself
                    clusterwide=not self._namespaces,
                    namespaces=self._namespaces,
                    stop_flag=stop,
                )
            except Exception:  # whatever it was, watching begins anew
                logger.exception("watching failed")
            finally:
                _call(home, ended.set)

        thread = threading.Thread(target=watch, name="watches", daemon=True)
        thread.start()
        try:
            await ended.wait()
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    def _registry(self, home: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            session = self._credentials.session(
                user_agent=self._user_agent, middlewares=(self._listener(home),)
            )
            return kopf.AiohttpSession(server=self._credentials.server, aiohttp_session=session)

        kopf.on.login(registry=registry)(login)
        for resource in WATCHED:
            handler = self._handler(resource, home)
            kopf.on.event(
                resource.group, resource.version, resource.plural, registry=registry, id=resource.plural
            )(handler)
        return registry

    def _handler(self, resource: Resource, home: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            _call(home, self._on_event, resource, event["type"], _named(resource, event["object"]))

        return handle

    def _listener(self, home: asyncio.AbstractEventLoop) -> aiohttp.ClientMiddlewareType:
        """Notices each request, and among them the lists with which a watch begins anew."""
        collections = {resource.plural for resource in WATCHED}

        async def listen(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            self._requested_at = time.monotonic()
            answer = await handler(request)
            is_list = request.url.name in collections and "watch" not in request.url.query
            if is_list and "continue" not in request.url.query:
                _call(home, self._on_list)
            return answer

        return listen


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.watching.reconnect_backoff = 1.0
    settings.watching.connect_timeout = 10.0
    settings.watching.chunk_size = PAGE_ITEMS
    settings.networking.request_timeout = 60.0
    settings.networking.error_backoffs = RETRY_SECONDS
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.diffbase_storage = _NothingToCompare()
    for resource in CHILDREN:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = JOB_UID_LABEL
    return settings


class _NothingToCompare(kopf.DiffBaseStorage):
    """Saves the copy of each object that kopf makes to tell changes by, which no handler here asks for."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def _named(resource: Resource, item: Any) -> Manifest:
    """Gives an object of an event with its kind, which items of a list do not name."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _call(home: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function on the operator's loop, unless that has ended."""
    if not home.is_closed():
        home.call_soon_threadsafe(function, *arguments)
