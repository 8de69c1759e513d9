"""What pods and nodes serve: a pod's own pages at its own address, and its log on the kubelet's port."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
from collections.abc import Iterator, Mapping
from typing import Protocol

import aiohttp
from aiohttp import web
from asyncdiff_api.formats.container import HEALTH_PATH, HTTP_PORT, METRICS_PATH, PROGRESS_PATH
from asyncdiff_api.formats.progress import Progress

from support.kubelet.steps import Report
from support.listening import listen, stop_listening

SECONDS_BETWEEN_LOOKS = 0.02


class Speaker(Protocol):
    """A pod as its readers see it."""

    @property
    def report(self) -> Report | None:
        """What `/progress` answers."""

    @property
    def port(self) -> int | None:
        """Where its process serves; None if it has none, or not yet."""

    @property
    def log(self) -> str:
        """What the container wrote."""

    @property
    def ended(self) -> bool:
        """Whether it will write no more."""


def pod_addresses() -> Iterator[str]:
    """Loopback addresses, from a random part of 127/8 on, so that kubelets side by side do not meet."""
    first = random.SystemRandom().randrange(2**22, 2**24 - 2**20)
    for number in itertools.count(first):
        if number % 256 not in (0, 255):
            yield f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"


class Pages:
    """The servers of all pods."""

    def __init__(self, speakers: Mapping[tuple[str, str], Speaker]) -> None:
        """Serves pods by (namespace, name) for logs."""
        self._speakers = speakers
        self._by_address: dict[str, Speaker] = {}
        self._servers: dict[str, asyncio.Server] = {}
        pods, node = web.Application(), web.Application()
        pods.router.add_get(PROGRESS_PATH, self._progress)
        pods.router.add_get(HEALTH_PATH, self._healthy)
        pods.router.add_get(METRICS_PATH, self._metrics)
        node.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._pods = web.AppRunner(pods, access_log=None, shutdown_timeout=0.0)
        self._node = web.AppRunner(node, access_log=None, shutdown_timeout=0.0)

    async def start(self, port: int, context: ssl.SSLContext) -> None:
        """Serves logs on a port of 127.0.0.1, as the API server asks a node for them."""
        await self._pods.setup()
        await self._node.setup()
        self._node_server = await listen(self._node, "127.0.0.1", port, context)

    async def open(self, address: str, speaker: Speaker) -> None:
        """A pod has begun to serve; opening twice does no harm."""
        self._by_address[address] = speaker
        if address not in self._servers:
            self._servers[address] = await listen(self._pods, address, HTTP_PORT)

    async def shut(self, address: str) -> None:
        """A pod serves no more."""
        self._by_address.pop(address, None)
        if (server := self._servers.pop(address, None)) is not None:
            await stop_listening(server)

    async def close(self) -> None:
        """Ends every server."""
        for server in (*self._servers.values(), self._node_server):
            await stop_listening(server)
        await self._pods.cleanup()
        await self._node.cleanup()

    async def _progress(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        speaker = self._by_address.get(request.transport.get_extra_info("sockname")[0])
        if speaker is not None and speaker.port is not None:
            return await self._of_process(speaker.port, PROGRESS_PATH)
        if speaker is None or (report := speaker.report) is None:
            return web.Response(status=503)
        if report.held_by is not None:
            await report.held_by.passed()
        content = report.content.to_line() if isinstance(report.content, Progress) else report.content
        headers = {"Location": report.location} if report.location else None
        return web.Response(
            body=content, status=report.status, content_type="application/json", headers=headers
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        speaker = self._by_address.get(request.transport.get_extra_info("sockname")[0])
        if speaker is None or speaker.port is None:
            return web.Response(status=503)
        return await self._of_process(speaker.port, METRICS_PATH)

    async def _of_process(self, port: int, path: str) -> web.StreamResponse:
        """A page of a pod's own process."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}{path}") as answer,
            ):
                return web.Response(body=await answer.read(), status=answer.status)
        except aiohttp.ClientError:
            return web.Response(status=503)

    async def _healthy(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        speaker = self._speakers.get((request.match_info["namespace"], request.match_info["pod"]))
        if speaker is None:
            return web.Response(status=404, text="the pod is not on this node")
        lines = speaker.log.splitlines(keepends=True)
        if "tailLines" in request.query:
            lines = lines[-int(request.query["tailLines"]) :]
        answer = web.StreamResponse()
        answer.content_type = "text/plain"
        await answer.prepare(request)
        await answer.write("".join(lines).encode())
        if request.query.get("follow") == "true":
            await self._follow(speaker, answer)
        return answer

    async def _follow(self, speaker: Speaker, answer: web.StreamResponse) -> None:
        """Sends what is written from now on, until the container has ended."""
        sent = len(speaker.log)
        while not speaker.ended or sent < len(speaker.log):
            if sent < len(speaker.log):
                await answer.write(speaker.log[sent:].encode())
                sent = len(speaker.log)
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
