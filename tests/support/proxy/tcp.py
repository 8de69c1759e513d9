"""Relaying bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.proxy.faults import Hang, Pace, Reset, Truncate
from support.proxy.plan import Request
from support.proxy.streams import CHUNK, Link, pace, reset

if TYPE_CHECKING:
    from support.proxy.server import Proxy

UNHURT = Pace()


async def relay_tcp(proxy: Proxy, client: Link, server: Link) -> None:
    """Relays a connection in both directions until both have ended, or a fault ends it."""
    injection = proxy.plan.choose(Request(next(proxy.numbers)))
    fault = injection.fault if injection else UNHURT
    if injection is not None and isinstance(fault, Hang):
        await injection.lifted.wait()
    line = fault if isinstance(fault, Pace) else UNHURT
    limit = fault.after_bytes if isinstance(fault, Reset | Truncate) else None
    await asyncio.sleep(line.delay_seconds)
    sending = asyncio.create_task(_pump(client, server, line, None))
    try:
        whole = await _pump(server, client, line, limit)
        if not whole and isinstance(fault, Reset):
            reset(client)
        if whole:
            await sending
    finally:
        sending.cancel()


async def _pump(source: Link, sink: Link, line: Pace, limit: int | None) -> bool:
    """Passes bytes on, at most so many; gives whether the source has ended by itself."""
    left = limit
    while left is None or left > 0:
        data = await source.read(CHUNK if left is None else min(left, CHUNK))
        if not data:
            if sink.writer.can_write_eof() and not sink.writer.transport.is_closing():
                sink.writer.write_eof()
            return True
        await pace(len(data), line.bytes_per_second)
        await sink.write(data)
        left = None if left is None else left - len(data)
    return False
