"""Servers of asyncio that leave no connection behind when they stop."""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web


async def listen(
    runner: web.AppRunner, address: str, port: int, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Lets an application that was set up take connections; end it by `stop_listening`, before its clean-up.

    Raises:
        OSError: The address is taken.
    """
    assert runner.server is not None
    return await asyncio.get_running_loop().create_server(runner.server, address, port, ssl=tls)


async def stop_listening(server: asyncio.Server) -> None:
    """Closes the sockets on which a server takes connections, once it has let in those that it took.

    asyncio gives a connection its transport one turn of the loop after it has accepted it, and its protocol
    hears of that in the turn after. The transport of a server that was closed in between cannot be made:
    its socket stays open and is nobody's.
    """
    loop = asyncio.get_running_loop()
    for each in server.sockets:
        loop.remove_reader(each.fileno())
    for _ in range(2):
        await asyncio.sleep(0)
    server.close()
