"""At most one replica may write, whatever becomes of requests and answers; and as soon as it can be, one does."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.elector import Elector, LeaseTimes
from asyncdiff_operator.errors import (
    AlreadyExistsError,
    ConflictError,
    LeadershipLostError,
    NotFoundError,
    UnreachableError,
)
from asyncdiff_operator.resources import Resource
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_time import run_in_virtual_time

TIMES = LeaseTimes()
REQUEST_SECONDS = TIMES.renew_seconds / 2


@dataclass
class Store:
    """The one Lease, as an API server keeps it."""

    lease: dict[str, Any] | None = None
    version: int = 0

    def put(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {"namespace": "system", "name": "lease", "resourceVersion": str(self.version)}
        self.lease = {"kind": "Lease", "metadata": metadata, "spec": dict(spec)}
        return self.lease


@dataclass
class Line:
    """One replica's way to the API server: slow, and now and then without an answer."""

    store: Store
    chance: random.Random
    trouble: float = 0.0
    """Share of requests that meet trouble."""
    slowest_seconds: float = 30.0
    cut: bool = field(default=False)

    async def get(self, _resource: Resource, _namespace: str, _name: str) -> dict[str, Any]:
        async with self._request():
            if self.store.lease is None:
                raise NotFoundError("none")
            return self.store.lease

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        async with self._request():
            if self.store.lease is not None:
                raise AlreadyExistsError("there is one")
            return self.store.put(manifest["spec"])

    async def replace(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        async with self._request():
            lease = self.store.lease
            if (
                lease is None
                or lease["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]
            ):
                raise ConflictError("changed")
            return self.store.put(manifest["spec"])

    @contextlib.asynccontextmanager
    async def _request(self) -> Any:
        """A request that travels, has its effect, and whose answer travels back; its time-out may strike anywhere."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._travel()
                yield
                await self._travel()
        except TimeoutError as error:
            raise UnreachableError("no answer") from error

    async def _travel(self) -> None:
        if self.cut:
            await asyncio.sleep(1e6)
        if self.chance.random() < self.trouble:
            await asyncio.sleep(self.chance.uniform(0, self.slowest_seconds))
        else:
            await asyncio.sleep(self.chance.uniform(0.001, 0.05))


def candidate(line: Line, identity: str) -> Elector:
    return Elector(
        cast("ApiClient", line),
        namespace="system",
        name="lease",
        identity=identity,
        clock=asyncio.get_running_loop().time,
    )


async def candidacy(elector: Elector) -> None:
    """What a replica does, container restarts included."""
    while True:
        await elector.acquire()
        with contextlib.suppress(LeadershipLostError):
            await elector.keep()
        await asyncio.sleep(1)


@settings(max_examples=75, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    trouble=st.sampled_from((0.0, 0.1, 0.4, 0.8)),
    replicas=st.integers(2, 4),
)
def test_of_any_replicas_on_any_network_one_at_most_may_write_and_soon_one_does(
    seed: int, trouble: float, replicas: int
) -> None:
    async def scenario() -> None:
        store, chance = Store(), random.Random(seed)
        lines = [Line(store, chance, trouble=trouble) for _ in range(replicas)]
        electors = [candidate(line, f"replica-{number}") for number, line in enumerate(lines)]
        lives = [asyncio.create_task(candidacy(elector)) for elector in electors]
        for _ in range(1500):
            await asyncio.sleep(0.1)
            assert sum(elector.leading for elector in electors) <= 1
        for line in lines:
            line.trouble = 0.0
        await asyncio.sleep(2 * TIMES.duration_seconds + TIMES.renew_seconds)
        assert sum(elector.leading for elector in electors) == 1
        for life in lives:
            life.cancel()

    run_in_virtual_time(scenario())


def test_a_replica_that_is_cut_off_stops_before_another_begins() -> None:
    async def scenario() -> tuple[float, float]:
        store, loop = Store(), asyncio.get_running_loop()
        lines = [Line(store, random.Random(number)) for number in range(2)]
        first, second = (candidate(line, name) for line, name in zip(lines, "ab", strict=True))
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(60)
        assert first.leading
        assert not waiting.done()

        lines[0].cut = True
        cut_at = loop.time()
        with pytest.raises(LeadershipLostError, match="another replica may lead"):
            await keeping
        stopped_at = loop.time()
        await waiting
        assert not first.leading
        return stopped_at - cut_at, loop.time() - cut_at

    stopped, taken_over = run_in_virtual_time(scenario())
    assert stopped <= TIMES.renew_seconds
    assert TIMES.renew_seconds < taken_over <= TIMES.duration_seconds + 3 * TIMES.retry_seconds


def test_a_lease_that_is_given_back_is_taken_at_the_next_attempt() -> None:
    async def scenario() -> float:
        store = Store()
        first, second = (candidate(Line(store, random.Random(7)), name) for name in "ab")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        given_back_at = asyncio.get_running_loop().time()
        await first.release()
        with pytest.raises(LeadershipLostError):
            first.check()
        await waiting
        return asyncio.get_running_loop().time() - given_back_at

    assert run_in_virtual_time(scenario()) <= 1.2 * TIMES.retry_seconds + 1


def test_a_restarted_replica_of_the_same_name_goes_on_at_once() -> None:
    async def scenario() -> float:
        store = Store()
        await candidate(Line(store, random.Random(1)), "pod-1").acquire()
        died_at = asyncio.get_running_loop().time()
        await candidate(Line(store, random.Random(2)), "pod-1").acquire()
        return asyncio.get_running_loop().time() - died_at

    assert run_in_virtual_time(scenario()) < 1


def test_clocks_need_not_agree() -> None:
    async def scenario() -> float:
        store = Store()
        spec = {
            "holderIdentity": "dead",
            "leaseDurationSeconds": 15,
            "renewTime": "2099-01-01T00:00:00.000000Z",
        }
        store.put(spec)
        await candidate(Line(store, random.Random(1)), "b").acquire()
        return asyncio.get_running_loop().time()

    assert TIMES.duration_seconds < run_in_virtual_time(scenario()) < 2 * TIMES.duration_seconds


def test_somebody_who_edits_the_lease_does_not_end_the_leadership() -> None:
    async def scenario() -> None:
        store = Store()
        elector = candidate(Line(store, random.Random(1)), "a")
        await elector.acquire()
        keeping = asyncio.create_task(elector.keep())
        for _ in range(5):
            assert store.lease is not None
            store.put({**store.lease["spec"], "strategy": "edited"})
            await asyncio.sleep(TIMES.retry_seconds * 3)
            assert elector.leading
        keeping.cancel()

    run_in_virtual_time(scenario())


def test_a_lease_that_somebody_else_takes_by_force_ends_the_leadership_at_the_next_renewal() -> None:
    async def scenario() -> float:
        store = Store()
        elector = candidate(Line(store, random.Random(1)), "a")
        await elector.acquire()
        keeping = asyncio.create_task(elector.keep())
        store.put({"holderIdentity": "usurper", "leaseDurationSeconds": 15})
        with pytest.raises(LeadershipLostError):
            await keeping
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) < 2 * TIMES.retry_seconds
