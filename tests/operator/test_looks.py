"""A plan is made again when something has changed or its time has come, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import JobStatus, Phase
from asyncdiff_operator.apply import Applier
from asyncdiff_operator.cache import Cache, JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import UnreachableError
from asyncdiff_operator.events import EventRecorder
from asyncdiff_operator.intent import Event, Plan
from asyncdiff_operator.names import JOB_UID_LABEL, shards_name
from asyncdiff_operator.observe import Observer
from asyncdiff_operator.observed import Manifest, Observed
from asyncdiff_operator.polling import Poller
from asyncdiff_operator.reconciler import SETTLED_SECONDS, Parts, Reconciler
from asyncdiff_operator.resources import ASYNCDIFFJOBS, PODS
from asyncdiff_operator.status_writer import FIRST_SECONDS, StatusWriter
from support.admission import install_crd
from support.cluster import Cluster
from support.operator.jobs import submit
from support.operator.session import with_client

KEY = JobKey("team", "posters")
JOB: Manifest = {
    "apiVersion": ASYNCDIFFJOBS.api_version,
    "kind": ASYNCDIFFJOBS.kind,
    "metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": "j", "resourceVersion": "1"},
}


def pod(version: int, **status: Any) -> Manifest:
    """A pod of that job."""
    metadata = {
        "namespace": KEY.namespace,
        "name": "shard-0",
        "uid": "p",
        "resourceVersion": str(version),
        "labels": {JOB_UID_LABEL: "j"},
        "ownerReferences": [{"kind": "Job", "name": shards_name(JOB), "uid": "s"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


@dataclass
class Planner:
    """Gives the same plan every time, and counts."""

    plan: Plan = field(default_factory=Plan)
    plans: int = 0

    def __call__(self, _observed: Observed, _now: datetime) -> Plan:
        self.plans += 1
        return self.plan


@dataclass
class Desk:
    """A reconciler whose plans and time a test decides."""

    client: ApiClient
    cache: Cache = field(default_factory=Cache)
    planner: Planner = field(default_factory=Planner)
    now: float = 0.0
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        def today() -> datetime:
            return datetime.now(UTC)

        poller = Poller(None, period_seconds=5, now=today, on_report=lambda _: None)
        self.reconciler = Reconciler(
            Parts(
                client=self.client,
                cache=self.cache,
                observer=Observer(self.client, self.cache, poller),
                applier=Applier(self.client, self.cache),
                status_writer=StatusWriter(self.client, self.cache, interval_seconds=5),
                recorder=EventRecorder(self.client, instance="a", now=today),
                poller=poller,
                make_plan=self.planner,
                now=today,
                clock=lambda: self.now,
            )
        )


NOTHING = Plan()


def at_a_desk(scenario: Callable[[Desk], Awaitable[None]], plan: Plan = NOTHING) -> None:
    """Runs a scenario in which nothing is asked of an API server."""

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            desk = Desk(ApiClient(session, "http://127.0.0.1:9", timeout_seconds=1), planner=Planner(plan))
            desk.cache.put(ASYNCDIFFJOBS, JOB)
            await scenario(desk)

    asyncio.run(run())


def test_nothing_is_planned_anew_where_nothing_has_changed() -> None:
    async def scenario(desk: Desk) -> None:
        for _ in range(3):
            assert await desk.reconciler.reconcile(KEY) is None
        assert desk.planner.plans == 1

    at_a_desk(scenario)


def test_a_change_of_the_job_or_of_a_child_is_planned_for_each_time() -> None:
    async def scenario(desk: Desk) -> None:
        changes: list[Callable[[], object]] = [
            lambda: desk.cache.put(PODS, pod(2, phase="Pending")),
            lambda: desk.cache.put(PODS, pod(3, phase="Running")),
            lambda: desk.cache.remove(PODS, pod(4)),
            lambda: desk.cache.put(
                ASYNCDIFFJOBS, {**JOB, "metadata": {**JOB["metadata"], "resourceVersion": "5"}}
            ),
        ]
        await desk.reconciler.reconcile(KEY)
        for number, change in enumerate(changes, 2):
            change()
            await desk.reconciler.reconcile(KEY)
            await desk.reconciler.reconcile(KEY)
            assert desk.planner.plans == number

    at_a_desk(scenario)


@pytest.mark.parametrize("asked", [None, 20.0, 300.0])
def test_a_plan_holds_until_its_time_and_never_for_long(asked: float | None) -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.reconciler.reconcile(KEY) == asked
        desk.now = 5.0
        assert await desk.reconciler.reconcile(KEY) == (None if asked is None else asked - 5)
        assert desk.planner.plans == 1
        desk.now = min(asked or SETTLED_SECONDS, SETTLED_SECONDS)
        assert await desk.reconciler.reconcile(KEY) == asked
        assert desk.planner.plans == 2

    at_a_desk(scenario, Plan(look_again_after_seconds=asked))


def test_a_job_made_anew_under_the_name_is_planned_for() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.reconciler.reconcile(KEY)
        desk.cache.remove(ASYNCDIFFJOBS, JOB)
        await desk.reconciler.reconcile(KEY)
        successor = {**JOB, "metadata": {**JOB["metadata"], "uid": "k", "resourceVersion": "9"}}
        desk.cache.put(ASYNCDIFFJOBS, successor)
        await desk.reconciler.reconcile(KEY)
        assert desk.planner.plans == 2

    at_a_desk(scenario)


def test_what_is_told_of_a_status_that_waits_for_its_turn_waits_too(caplog: pytest.LogCaptureFixture) -> None:
    told = Event(type="Normal", reason=Reason.VALID, message="It is.")
    plan = Plan(status=JobStatus(phase=Phase.STARTING), events=(told,))

    async def scenario(desk: Desk) -> None:
        # nothing is sent: whatever is asked of this API server fails
        again = await desk.reconciler.reconcile(KEY)
        assert again is not None
        assert again <= FIRST_SECONDS
        assert "an event could not be written" not in caplog.text
        desk.planner.plan = replace(plan, urgent=True)
        desk.cache.put(PODS, pod(2))
        with pytest.raises(UnreachableError):
            await desk.reconciler.reconcile(KEY)

    at_a_desk(scenario, plan)


def test_the_echo_of_an_own_status_is_no_news_and_another_hand_in_it_is(
    cluster: Cluster, namespace: str
) -> None:
    install_crd(cluster.api)
    job = submit(cluster.api, namespace)
    key = JobKey.of(job)

    async def scenario(client: ApiClient) -> None:
        desk = Desk(client, planner=Planner(Plan(status=JobStatus(phase=Phase.STARTING), urgent=True)))
        desk.cache.put(ASYNCDIFFJOBS, job)
        await desk.reconciler.reconcile(key)
        desk.cache.put(ASYNCDIFFJOBS, cluster.api.get(job))
        await desk.reconciler.reconcile(key)
        assert desk.planner.plans == 1

        cluster.api.patch(job, {"status": {"phase": "Running"}}, subresource="status")
        desk.cache.put(ASYNCDIFFJOBS, cluster.api.get(job))
        await desk.reconciler.reconcile(key)
        assert desk.planner.plans == 2
        assert cluster.api.get(job)["status"]["phase"] == "Starting"

    with_client(cluster.kubeconfig, scenario)
