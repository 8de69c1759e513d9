"""Relaying requests and answers of HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.proxy.faults import (
    Answer,
    CutUpload,
    Fault,
    GarbleAnswer,
    GarbleUpload,
    Hang,
    LoseAnswer,
    Pace,
    Reset,
    Truncate,
)
from support.proxy.plan import Exchange, Request
from support.proxy.streams import CHUNK, Link, pace, reset

if TYPE_CHECKING:
    from support.proxy.server import Proxy

UNHURT = Pace()
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Head:
    """First line and headers of a message."""

    first: str
    headers: dict[str, str]
    """By name in small letters."""
    data: bytes
    """As it was read."""

    @classmethod
    async def read(cls, link: Link) -> Head | None:
        """Reads a head; None where the other side has ended before one."""
        try:
            data = await link.reader.readuntil(HEAD_END)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise EOFError from error
            return None
        first, *lines = data[: -len(HEAD_END)].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(first, {name.strip().lower(): value.strip() for name, _, value in pairs}, data)

    def without(self, name: str) -> bytes:
        """Gives the head's bytes without one header."""
        lines = self.data.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(name.encode() + b":"))


async def relay_http(proxy: Proxy, client: Link, server: Link) -> None:
    """Relays the requests of a connection one after the other, until a side or a fault ends it."""
    while (head := await Head.read(client)) is not None:
        method, target, _ = head.first.split(" ", 2)
        request = Request(next(proxy.numbers), method, target, head.headers)
        if not await _Conversation(proxy, client, server, request, head).go():
            return


class _Conversation:
    """One request and its answer."""

    def __init__(self, proxy: Proxy, client: Link, server: Link, request: Request, head: Head) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._request, self._head = request, head
        self._sent = self._received = 0
        self._status: int | None = None

    async def go(self) -> bool:
        """Carries it out; gives whether the connection may be used again."""
        try:
            return await self._carry_out()
        finally:
            exchange = Exchange(self._request, self._status, self._sent, self._received)
            self._proxy.exchanges.append(exchange)

    async def _carry_out(self) -> bool:
        injection = self._proxy.plan.choose(self._request)
        fault: Fault = injection.fault if injection else UNHURT
        if injection is not None and isinstance(fault, Hang):
            await injection.lifted.wait()
        if isinstance(fault, Answer):
            return await self._answer(fault)
        line = fault if isinstance(fault, Pace) else UNHURT
        await asyncio.sleep(line.delay_seconds)
        await self._server.write(self._head.without("expect"))
        if not await self._send(line, fault):
            reset(self._server)
            reset(self._client)
            return False
        return await self._receive(line, fault)

    async def _answer(self, fault: Answer) -> bool:
        async for data in self._request_body():
            self._sent += len(data)
        body = b"" if self._request.method == "HEAD" else fault.body
        lines = [
            f"HTTP/1.1 {fault.status} Injected",
            "Content-Type: application/xml",
            f"Content-Length: {len(body)}",
        ]
        await self._client.write("\r\n".join(lines).encode() + HEAD_END + body)
        self._status = fault.status
        return True

    async def _send(self, line: Pace, fault: Fault) -> bool:
        """Passes the request's body on; gives whether all of it."""
        limit = fault.after_bytes if isinstance(fault, CutUpload) else None
        async for data in self._request_body():
            if limit is not None and self._sent + len(data) > limit:
                await self._server.write(data[: limit - self._sent])
                return False
            await pace(len(data), line.bytes_per_second)
            await self._server.write(_garbled(data) if isinstance(fault, GarbleUpload) else data)
            self._sent += len(data)
        return limit is None

    async def _request_body(self) -> AsyncIterator[bytes]:
        if self._head.headers.get("expect", "").lower() == "100-continue":
            await self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for data in _body(self._client, self._head, ends_with_connection=False):
            yield data

    async def _receive(self, line: Pace, fault: Fault) -> bool:
        """Passes the answer on; gives whether the connection may be used again."""
        head = await Head.read(self._server)
        if head is None:
            raise EOFError
        status = int(head.first.split(" ")[1])
        bare = self._request.method == "HEAD" or status in {204, 304}
        body = _nothing() if bare else _body(self._server, head, ends_with_connection=True)
        if isinstance(fault, LoseAnswer):
            async for _ in body:
                pass
            reset(self._client)
            return False
        limit = fault.after_bytes if isinstance(fault, Reset | Truncate) else None
        await self._client.write(head.data)
        self._status = status
        async for data in body:
            if limit is not None and self._received + len(data) > limit:
                await self._client.write(data[: limit - self._received])
                break
            await pace(len(data), line.bytes_per_second)
            await self._client.write(_garbled(data) if isinstance(fault, GarbleAnswer) else data)
            self._received += len(data)
        if isinstance(fault, Reset):
            reset(self._client)
        return limit is None and head.headers.get("connection", "").lower() != "close"


def _garbled(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _body(link: Link, head: Head, *, ends_with_connection: bool) -> AsyncIterator[bytes]:
    """Gives a message's body in pieces, the framing of chunks included."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        async for data in _chunks(link):
            yield data
        return
    left = int(head.headers["content-length"]) if "content-length" in head.headers else None
    if left is None and not ends_with_connection:
        return
    while left is None or left > 0:
        data = await link.read(CHUNK if left is None else min(left, CHUNK))
        if not data:
            if left:
                raise EOFError
            return
        yield data
        left = None if left is None else left - len(data)


async def _chunks(link: Link) -> AsyncIterator[bytes]:
    while True:
        size_line = await link.reader.readuntil(b"\r\n")
        yield size_line
        size = int(size_line.split(b";")[0], 16)
        if size == 0:
            while True:  # trailers, up to an empty line
                trailer = await link.reader.readuntil(b"\r\n")
                yield trailer
                if trailer == b"\r\n":
                    return
        yield await link.reader.readexactly(size + 2)
