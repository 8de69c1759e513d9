"""What waits and is told to stop does stop, also when what it waits for comes at the same moment."""

from __future__ import annotations

import asyncio

import pytest
from asyncdiff_operator.cache import Cache
from asyncdiff_operator.client import Listing
from asyncdiff_operator.queue import WorkQueue
from asyncdiff_operator.resources import Resource
from asyncdiff_operator.resync import Resync

TURNS = range(6)
"""Turns of the event loop between what is waited for and the cancellation."""


async def cancelled_after(waiting: asyncio.Task[object], turns: int) -> bool:
    """Cancels a task so many turns from now; whether it then ends."""
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=1)
    ended = waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})
    return ended


@pytest.mark.parametrize("turns", TURNS)
def test_a_worker_that_waits_for_a_key_ends_though_the_queue_changes(turns: int) -> None:
    async def scenario() -> bool:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("much later", 3600)
        waiting = asyncio.create_task(queue.get())
        for _ in TURNS:
            await asyncio.sleep(0)
        queue.add("later", 1800)
        return await cancelled_after(waiting, turns)

    assert asyncio.run(scenario())


class Nothing:
    """A cluster without objects."""

    async def list(self, _resource: Resource, _namespace: str | None, *, labels: str = "") -> Listing:
        return Listing(items=(), resource_version=f"1{labels[:0]}")


@pytest.mark.parametrize("turns", TURNS)
def test_the_comparison_with_the_api_server_ends_though_it_is_wanted(turns: int) -> None:
    async def scenario() -> bool:
        resync = Resync(
            Nothing(),  # type: ignore[arg-type]  # -- the one method of the client that is called
            Cache(),
            namespaces=(),
            interval_seconds=3600,
            on_change=lambda _: None,
        )
        waiting: asyncio.Task[object] = asyncio.create_task(resync.run())
        for _ in TURNS:
            await asyncio.sleep(0)
        resync.want()
        return await cancelled_after(waiting, turns)

    assert asyncio.run(scenario())
