"""One side of a relayed connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Final

CHUNK: Final = 2**14
"""Bytes passed on at once."""


@dataclass(frozen=True, eq=False)
class Link:
    """A connection to a client or to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    flowing: asyncio.Event
    """Clear while the proxy is frozen."""

    async def read(self, most: int = CHUNK) -> bytes:
        """Reads what there is; empty at the end."""
        return await self.reader.read(most)

    async def write(self, data: bytes) -> None:
        """Passes bytes on, once they may flow."""
        await self.flowing.wait()
        self.writer.write(data)
        await self.writer.drain()


def reset(link: Link) -> None:
    """Ends a connection as a crash does: with RST, whatever was still to be sent."""
    with contextlib.suppress(OSError):
        link.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    link.writer.transport.abort()


async def pace(size: int, bytes_per_second: float) -> None:
    """Waits as long as so many bytes take."""
    if bytes_per_second != float("inf"):
        await asyncio.sleep(size / bytes_per_second)
