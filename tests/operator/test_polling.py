"""Pods are asked for their progress and not believed; a poll that fails changes only freshness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from asyncdiff_api.formats.container import HTTP_PORT
from asyncdiff_api.formats.errors import ContractError
from asyncdiff_api.formats.progress import MAX_PROGRESS_BYTES
from asyncdiff_operator.cache import JobKey
from asyncdiff_operator.names import INDEX_ANNOTATION
from asyncdiff_operator.polling import POLLS_PER_SECOND, Poller, by_address, read_report
from support.listening import listen, stop_listening
from support.repository import ROOT

KEY = JobKey("team", "posters")
EXAMPLE = ROOT / "api/asyncdiff_api/formats/examples/progress-1.0.json"
ADDRESSES = [f"127.77.0.{host}" for host in range(1, 100)]
pytestmark = pytest.mark.allow_hosts(["127.0.0.1", *ADDRESSES])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def report(**changes: Any) -> bytes:
    return json.dumps({**json.loads(Path(EXAMPLE).read_text()), **changes}).encode()


SHARD = json.loads(report())["shard"]


def pod(uid: str, address: str, shard: int = SHARD) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": uid, "uid": uid, "annotations": {INDEX_ANNOTATION: str(shard)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": address}}


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A pod's page at an address of its own; the port is every pod's."""
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    for address in ADDRESSES:
        try:
            server = await listen(runner, address, HTTP_PORT)
        except OSError:  # another run of these tests is there
            continue
        break
    try:
        yield address
    finally:
        await stop_listening(server)
        await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def polling(period_seconds: float = 0.05) -> AsyncIterator[tuple[Poller, list[JobKey]]]:
    heard: list[JobKey] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        poller = Poller(
            by_address(session),
            period_seconds=period_seconds,
            now=lambda: datetime.now(UTC),
            on_report=heard.append,
        )
        running = asyncio.create_task(poller.run())
        try:
            yield poller, heard
        finally:
            running.cancel()
            await asyncio.wait([running])


def test_a_pod_that_is_followed_is_asked_again_and_again_until_it_is_left() -> None:
    asked: list[web.Request] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return web.Response(body=report(sequence=len(asked)))

    async def scenario() -> None:
        async with served(handler) as address, polling() as (poller, heard):
            assert poller.reachable("j") is None
            poller.follow(KEY, "j", [pod("p", address)], ["p"])
            await until(lambda: len(asked) >= 3)
            assert poller.reachable("j") is True
            assert poller.reports("j")["p"].progress.sequence >= 2
            assert set(heard) == {KEY}
            assert {request.path for request in asked} == {"/progress"}
            assert all("Authorization" not in request.headers for request in asked)

            poller.follow(KEY, "j", [], ["p"])
            left = len(asked) + 1  # one may be on its way
            await asyncio.sleep(0.2)
            assert len(asked) <= left
            assert set(poller.reports("j")) == {"p"}, "what it said stays while it is there"
            poller.follow(KEY, "j", [], [])
            assert poller.reports("j") == {}
            poller.forget("j")
            assert poller.reachable("j") is None

    asyncio.run(scenario())


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 4096)


async def _redirect(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data")


async def _error(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


async def _nonsense(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\xff{}")


async def _another_shard(_: web.Request) -> web.StreamResponse:
    return web.Response(body=report(shard=SHARD + 1))


async def _silence(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("answer", [_endless, _redirect, _error, _nonsense, _another_shard, _silence])
def test_an_answer_that_is_no_report_of_the_shard_is_passed_over(answer: Handler) -> None:
    answers = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal answers
        answers += 1
        return await answer(request) if answers > 1 else web.Response(body=report())

    async def scenario() -> None:
        async with served(handler) as address, polling() as (poller, heard):
            poller.follow(KEY, "j", [pod("p", address)], ["p"])
            await until(lambda: poller.reports("j"))
            first = poller.reports("j")
            await until(lambda: answers >= 2 if answer is _silence else answers >= 3)
            assert poller.reports("j") == first
            assert heard == [KEY]
            if answer is _error:
                await until(lambda: poller.reachable("j") is False)

    asyncio.run(scenario())


def test_a_pod_without_an_address_and_one_that_refuses_connections_are_tried_less_and_less_often() -> None:
    async def scenario() -> None:
        async with polling(period_seconds=0.01) as (poller, heard):
            poller.follow(KEY, "j", [pod("new", ""), pod("closed", ADDRESSES[-1])], ["new", "closed"])
            await until(lambda: poller.reachable("j") is False)
            assert heard == []

    asyncio.run(scenario())


def test_many_pods_are_each_asked_less_often() -> None:
    async def scenario() -> None:
        async with polling(period_seconds=5) as (poller, _):
            poller.follow(KEY, "j", [pod(str(n), "") for n in range(1000)], ())
            assert poller.period_seconds() == 1000 / POLLS_PER_SECOND

    asyncio.run(scenario())


def test_nobody_is_asked_where_polling_is_off() -> None:
    async def scenario() -> None:
        poller = Poller(None, period_seconds=1, now=lambda: datetime.now(UTC), on_report=lambda _: None)
        await poller.run()
        poller.follow(KEY, "j", [pod("p", "127.0.0.1")], ["p"])
        assert poller.reachable("j") is None
        assert poller.reports("j") == {}

    asyncio.run(scenario())


def test_a_report_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(ContractError, match="it is ignored"):
        read_report(b" " * (MAX_PROGRESS_BYTES + 1), pod("p", ""))


def test_a_pod_whose_label_is_moved_from_job_to_job_is_left_by_each_in_any_order() -> None:
    async def scenario() -> None:
        async with polling(period_seconds=5) as (poller, _):
            moved = pod("p", "")
            poller.follow(KEY, "j", [moved], ["p"])
            poller.follow(JobKey("team", "others"), "k", [moved], ["p"])
            poller.follow(KEY, "j", [], [])
            poller.follow(JobKey("team", "others"), "k", [moved], ["p"])
            await until(lambda: poller.reachable("k") is False)
            poller.forget("j")
            poller.forget("k")
            assert poller.reachable("k") is None

    asyncio.run(scenario())
