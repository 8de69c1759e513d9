"""A gateway in front of a cluster's API server: plain HTTP on this side, so that it sees every request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from support.cluster.api import ssl_context
from support.listening import listen, stop_listening
from support.processes import free_port

if TYPE_CHECKING:
    from support.cluster import Cluster

TIME = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)((?:\.\d+)?)Z"')
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOP_HEADERS = frozenset(
    {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "date"}
)


@dataclass(frozen=True)
class Seen:
    """A request on its way to the API server."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str] = field(repr=False, default_factory=dict)

    @property
    def is_write(self) -> bool:
        """Whether it changes something, Leases aside."""
        return self.method in WRITES and "/leases" not in self.path

    @property
    def is_watch(self) -> bool:
        """Whether its answer is a stream of events."""
        return "watch" in self.query


@dataclass(frozen=True)
class Reply:
    """An answer in place of the API server's."""

    code: int
    reason: str = ""
    message: str = "injected by a test"
    headers: dict[str, str] = field(default_factory=dict)


Before = Callable[[Seen], Reply | None]
"""Sees a request before the API server does; an answer keeps it from getting there."""
After = Callable[[Seen, int], Reply | None]
"""Sees the status of an answer before the operator does, and may put another in its place."""
Mangle = Callable[[Seen, bytes], list[bytes]]
"""Takes a line of a watch and gives the lines that go on."""


class Gateway:
    """Passes requests on as one user of the cluster, who may do anything unless other groups are named."""

    def __init__(self, cluster: Cluster, user: str, groups: Iterable[str] = ("system:masters",)) -> None:
        self.ahead = timedelta(0)
        """How far the API server's clock is ahead of this machine's, as its answers say."""
        self.skew = timedelta(0)
        """The same, and every time in its objects too: what the operator would see whose own clock is wrong."""
        self.before: Before = lambda _: None
        self.after: After = lambda _seen, _code: None
        self.mangle: Mangle = lambda _seen, line: [line]
        self.user = user
        self.port = free_port()
        self._server = cluster.server
        config = json.loads(cluster.kubeconfig_for_user(user, groups).read_text())
        self._tls = ssl_context(config["clusters"][0]["cluster"], config["users"][0]["user"])
        self.kubeconfig = cluster.folder / f"gateway-{self.port}.kubeconfig"
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.port)))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)

    def __enter__(self) -> Gateway:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0), auto_decompress=True
        )
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._listener = await listen(self._runner, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        await stop_listening(self._listener)
        await self._runner.cleanup()
        await self._session.close()
        conversations = asyncio.all_tasks() - {asyncio.current_task()}
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        content = shifted(await request.read(), -self.skew)
        seen = Seen(
            request.method,
            request.path,
            dict(request.query),
            json.loads(content) if content else None,
            dict(request.headers),
        )
        if (reply := await asyncio.to_thread(self.before, seen)) is not None:
            return _refusal(reply)
        headers = {
            n: v for n, v in request.headers.items() if n.lower() not in HOP_HEADERS | {"authorization"}
        }
        async with self._session.request(
            request.method,
            self._server + request.path_qs,
            data=content or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if seen.is_watch and answer.status == 200:
                return await self._stream(request, seen, answer)
            body = await answer.read()
            if (reply := await asyncio.to_thread(self.after, seen, answer.status)) is not None:
                return _refusal(reply)
            kept = {n: v for n, v in answer.headers.items() if n.lower() not in HOP_HEADERS}
            moment = parsedate_to_datetime(answer.headers["Date"]) + self.ahead + self.skew
            kept["Date"] = format_datetime(moment, usegmt=True)
            return web.Response(status=answer.status, body=shifted(body, self.skew), headers=kept)

    async def _stream(
        self, request: web.Request, seen: Seen, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        with contextlib.suppress(ConnectionError):  # whoever watched may be dead
            await response.prepare(request)
            async for line in answer.content:
                for passed in self.mangle(seen, line):
                    await response.write(shifted(passed, self.skew))
            await response.write_eof()
        return response


def shifted(document: bytes, by: timedelta) -> bytes:
    """A document of JSON with all its times so much later."""

    def shift(found: re.Match[bytes]) -> bytes:
        moment = datetime.fromisoformat(found[1].decode()) + by
        return b'"' + moment.isoformat().encode() + found[2] + b'Z"'

    return TIME.sub(shift, document) if by else document


def _refusal(reply: Reply) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "code": reply.code, "status": "Failure"}
    status |= {"reason": reply.reason, "message": reply.message}
    return web.json_response(status, status=reply.code, headers=reply.headers)


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "g", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "g", "user": {"token": "told-to-the-gateway-alone"}}],
        "contexts": [{"name": "g", "context": {"cluster": "g", "user": "g"}}],
        "current-context": "g",
    }
