"""Warnings of a namespace are read once for however many jobs ask, and not again for a while."""

from __future__ import annotations

import asyncio

import pytest
from asyncdiff_operator.client import ApiClient, Call
from asyncdiff_operator.errors import RefusedError
from asyncdiff_operator.warnings import SHARED_SECONDS, Warnings
from support.cluster import Cluster, reference
from support.operator.session import with_client


def warn(
    cluster: Cluster, namespace: str, name: str, uid: str, message: str, at: str, kind: str = "Warning"
) -> None:
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "p", "uid": uid}
    event = reference("v1", "Event", name, namespace)
    cluster.api.create(
        {
            **event,
            "involvedObject": about,
            "type": kind,
            "reason": "Failed",
            "message": message,
            "lastTimestamp": at,
        }
    )


def test_a_hundred_jobs_that_ask_cost_one_list_and_hear_the_newest_about_each_object(
    cluster: Cluster, namespace: str
) -> None:
    now, calls = 0.0, list[Call]()
    warn(cluster, namespace, "a", "one", "newer", "2026-01-31T12:00:02Z")
    warn(cluster, namespace, "b", "one", "older", "2026-01-31T12:00:01Z")
    warn(cluster, namespace, "c", "two", "another's", "2026-01-31T12:00:00Z")
    warn(cluster, namespace, "d", "two", "no warning", "2026-01-31T12:00:09Z", kind="Normal")

    async def scenario(client: ApiClient) -> None:
        nonlocal now
        warnings = Warnings(client, clock=lambda: now)
        for answer in await asyncio.gather(*(warnings.of(namespace) for _ in range(100))):
            assert answer == {"one": "Failed: newer", "two": "Failed: another's"}
        assert len(calls) == 1

        warn(cluster, namespace, "e", "one", "newest", "2026-01-31T12:00:03Z")
        now = SHARED_SECONDS - 1
        assert (await warnings.of(namespace))["one"] == "Failed: newer"
        now = SHARED_SECONDS
        assert (await warnings.of(namespace))["one"] == "Failed: newest"
        assert await warnings.of("elsewhere") == {}
        assert len(calls) == 3

    with_client(cluster.kubeconfig, scenario, on_call=calls.append)


def test_a_list_that_fails_is_heard_by_all_who_waited_and_the_next_one_asks_again(
    cluster: Cluster, namespace: str
) -> None:
    calls = list[Call]()
    cluster.api.create(reference("v1", "ServiceAccount", "nobody", namespace))
    nobody = cluster.kubeconfig_for_service_account(namespace, "nobody")

    async def scenario(client: ApiClient) -> None:
        warnings = Warnings(client)
        for times in (1, 2):
            heard = await asyncio.gather(*(warnings.of(namespace) for _ in range(20)), return_exceptions=True)
            assert {type(error) for error in heard} == {RefusedError}
            assert len(calls) == times

    with_client(nobody, scenario, on_call=calls.append)


def test_one_who_stops_waiting_takes_the_answer_from_nobody(cluster: Cluster, namespace: str) -> None:
    async def scenario(client: ApiClient) -> None:
        warnings = Warnings(client)
        first, second = (asyncio.create_task(warnings.of(namespace)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == {}
        with pytest.raises(asyncio.CancelledError):
            await first

    with_client(cluster.kubeconfig, scenario)
