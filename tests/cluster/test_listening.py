"""A server of the tests may stop at any moment, whoever is at the door."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest
from aiohttp import web
from support.listening import listen, stop_listening
from support.processes import free_port


async def stop_beside_a_visitor(turns: int) -> None:
    """Stops a server so many turns of the loop after somebody has connected."""
    runner = web.AppRunner(web.Application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    server = await listen(runner, "127.0.0.1", port := free_port())
    with socket.create_connection(("127.0.0.1", port)):
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop_listening(server)
        await runner.cleanup()


@pytest.mark.parametrize("turns", range(5))
def test_a_server_that_stops_leaves_no_connection_open(turns: int) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(stop_beside_a_visitor(turns))
        gc.collect()
    assert [str(each.message) for each in warned if "unclosed" in str(each.message)] == []
