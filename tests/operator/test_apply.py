"""Operations are carried out once, on the very object that was observed, and on nobody else's."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import ItemCounts, JobStatus, Phase
from asyncdiff_operator.apply import Applier, ChangedMeanwhileError, NameTakenError
from asyncdiff_operator.cache import Cache
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import NotFoundError
from asyncdiff_operator.events import EventRecorder
from asyncdiff_operator.intent import Create, Delete, Event, Patch
from asyncdiff_operator.logs import job_logger
from asyncdiff_operator.names import child_metadata, shards_name
from asyncdiff_operator.resources import ASYNCDIFFJOBS, CONFIGMAPS
from asyncdiff_operator.status_writer import AT_ONCE, FIRST_SECONDS, StatusWriter, difference
from hypothesis import given
from hypothesis import strategies as st
from support.admission import install_crd
from support.cluster import Cluster, reference
from support.operator.jobs import submit
from support.operator.session import with_client

LOG = logging.getLogger(__name__)


@pytest.fixture
def job(cluster: Cluster, namespace: str) -> dict[str, Any]:
    install_crd(cluster.api)
    return submit(cluster.api, namespace)


def child(job: dict[str, Any], **data: str) -> dict[str, Any]:
    metadata = child_metadata(job, shards_name(job))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_a_creation_whose_answer_was_lost_finds_its_own_object(cluster: Cluster, job: dict[str, Any]) -> None:
    async def scenario(client: ApiClient) -> None:
        cache, log = Cache(), job_logger(LOG, job)
        await client.create(child(job, colour="red"))
        await Applier(client, cache).apply([Create(manifest=child(job, colour="red"))], log)
        (held,) = cache.children(CONFIGMAPS, job["metadata"]["uid"])
        assert held["metadata"]["resourceVersion"]

    with_client(cluster.kubeconfig, scenario)


def test_a_stranger_of_a_childs_name_is_named_and_left_alone(cluster: Cluster, job: dict[str, Any]) -> None:
    async def scenario(client: ApiClient) -> None:
        stranger = child(job, mine="yes")
        del stranger["metadata"]["ownerReferences"]
        stored = await client.create(stranger)
        with pytest.raises(NameTakenError, match="is not marked as the job's") as taken:
            await Applier(client, Cache()).apply([Create(manifest=child(job))], job_logger(LOG, job))
        assert taken.value.stranger["metadata"]["uid"] == stored["metadata"]["uid"]
        assert cluster.api.get(stored) == stored

    with_client(cluster.kubeconfig, scenario)


def test_an_object_that_was_changed_or_replaced_is_read_anew_and_not_written(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    async def scenario(client: ApiClient) -> None:
        cache, log = Cache(), job_logger(LOG, job)
        applier = Applier(client, cache)
        observed = await client.create(child(job, colour="red"))
        cluster.api.patch(observed, {"data": {"colour": "blue"}})
        for operation in (
            Patch(target=observed, changes={"data": {"colour": "green"}}),
            Delete(target=observed),
        ):
            with pytest.raises(ChangedMeanwhileError):
                await applier.apply([operation], log)
        (held,) = cache.children(CONFIGMAPS, job["metadata"]["uid"])
        assert held["data"] == {"colour": "blue"}

        cluster.api.delete(observed)
        again = await client.create(child(job, colour="red"))
        for operation in (Patch(target=held, changes={"data": {"colour": "green"}}), Delete(target=held)):
            with pytest.raises(ChangedMeanwhileError):
                await applier.apply([operation], log)
        assert cluster.api.get(again)["data"] == {"colour": "red"}
        (held,) = cache.children(CONFIGMAPS, job["metadata"]["uid"])
        assert held["metadata"]["uid"] == again["metadata"]["uid"]

    with_client(cluster.kubeconfig, scenario)


def test_patches_and_deletions_of_what_was_observed_are_done_and_a_second_deletion_is_as_good(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    async def scenario(client: ApiClient) -> None:
        cache, log = Cache(), job_logger(LOG, job)
        applier = Applier(client, cache)
        await applier.apply([Create(manifest=child(job, colour="red"))], log)
        (held,) = cache.children(CONFIGMAPS, job["metadata"]["uid"])
        await applier.apply([Patch(target=held, changes={"data": {"colour": "green"}})], log)
        (patched,) = cache.children(CONFIGMAPS, job["metadata"]["uid"])
        assert patched["data"] == {"colour": "green"}
        await applier.apply([Delete(target=patched)], log)
        await applier.apply([Delete(target=patched)], log)
        assert cache.children(CONFIGMAPS, job["metadata"]["uid"]) == ()
        with pytest.raises(NotFoundError):
            await client.get(CONFIGMAPS, patched["metadata"]["namespace"], patched["metadata"]["name"])

    with_client(cluster.kubeconfig, scenario)


DOCUMENTS = st.recursive(
    st.booleans() | st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), DOCUMENTS, max_size=3)


def merged(found: Any, patch: Any) -> Any:
    """RFC 7386, as its section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(found) if isinstance(found, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(found=OBJECTS, wanted=OBJECTS)
def test_the_difference_merged_into_what_was_found_gives_what_is_wanted(
    found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    patch = difference(found, wanted)
    assert merged(found, patch) == wanted
    assert bool(patch) == (found != wanted)


def test_a_status_is_written_once_only_where_observed_and_counts_wait_for_their_turn(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    now = 0.0

    async def scenario(client: ApiClient) -> None:
        nonlocal now
        cache = Cache()
        cache.put(ASYNCDIFFJOBS, job)
        key = next(iter(cache.jobs()))
        writer = StatusWriter(client, cache, interval_seconds=5, clock=lambda: now)

        def stored() -> dict[str, Any]:
            found = cache.job(key)
            assert found is not None
            return dict(found)

        async def write(status: JobStatus, *, urgent: bool) -> float | None:
            outcome = await writer.write(stored(), status, urgent=urgent)
            assert outcome.job == stored()
            return outcome.rest_seconds

        pending = JobStatus(phase=Phase.PENDING)
        assert await write(pending, urgent=True) is None
        version = stored()["metadata"]["resourceVersion"]
        assert await write(pending, urgent=True) is None
        assert stored()["metadata"]["resourceVersion"] == version

        counted = JobStatus(phase=Phase.PENDING, items=ItemCounts(done=3))
        now = 1.0
        assert await write(counted, urgent=False) == 4.0
        now = 5.0
        assert await write(counted, urgent=False) is None
        assert cluster.api.get(job)["status"]["items"] == {"done": 3}

        with pytest.raises(ChangedMeanwhileError):
            await writer.write(job, JobStatus(phase=Phase.RUNNING), urgent=True)
        again = JobStatus(phase=Phase.RUNNING)
        assert await write(again, urgent=True) is None
        found = cluster.api.get(job)["status"]
        assert found["phase"] == "Running"
        assert "items" not in found

        cluster.api.delete(job)
        successor = submit(cluster.api, job["metadata"]["namespace"])
        with pytest.raises(ChangedMeanwhileError):
            await writer.write(stored(), pending, urgent=True)
        assert stored()["metadata"]["uid"] == successor["metadata"]["uid"]
        assert "status" not in cluster.api.get(successor)

    with_client(cluster.kubeconfig, scenario)


def test_a_job_that_changes_its_mind_without_end_has_its_status_written_at_a_rate(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    now, writes = 0.0, 0

    async def scenario(client: ApiClient) -> None:
        nonlocal now, writes
        cache = Cache()
        cache.put(ASYNCDIFFJOBS, job)
        key = next(iter(cache.jobs()))
        writer = StatusWriter(client, cache, interval_seconds=5, clock=lambda: now)
        while now < 60:
            stored = cache.job(key)
            assert stored is not None
            turned = JobStatus(phase=Phase.RUNNING if writes % 2 else Phase.STARTING)
            rest = (await writer.write(stored, turned, urgent=True)).rest_seconds
            writes += rest is None
            now += rest or 0.0

    with_client(cluster.kubeconfig, scenario)
    assert writes == AT_ONCE + 60 / 5 - 1  # the next one would be at 60


def test_an_event_is_told_once_while_it_stands_and_counted_when_it_comes_again(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    namespace = job["metadata"]["namespace"]
    waiting = Event(type="Normal", reason=Reason.WAITING_FOR_PODS, message="No pod runs yet.")

    def told() -> list[tuple[str, int]]:
        found = cluster.api.items(reference("v1", "Event", namespace=namespace))
        return [(event["message"], event["count"]) for event in found]

    async def scenario(client: ApiClient) -> None:
        def recorder() -> EventRecorder:
            return EventRecorder(client, instance="a", now=lambda: datetime.now(UTC))

        first = recorder()
        for _ in range(3):
            await first.record(job, [waiting])
        assert told() == [("No pod runs yet.", 1)]
        await recorder().record(job, [waiting])  # of an operator that has just started
        assert told() == [("No pod runs yet.", 1)]
        await first.record(job, [])
        await first.record(job, [waiting])
        assert told() == [("No pod runs yet.", 2)]

    with_client(cluster.kubeconfig, scenario)


def test_a_job_that_changes_its_mind_without_end_gets_few_events(
    cluster: Cluster, job: dict[str, Any]
) -> None:
    async def scenario(client: ApiClient) -> None:
        recorder = EventRecorder(client, instance="a", now=lambda: datetime.now(UTC))
        for number in range(40):
            event = Event(type="Warning", reason=Reason.NO_PROGRESS, message=f"{number} " + 2000 * "x")
            await recorder.record(job, [event])

    with_client(cluster.kubeconfig, scenario)
    found = cluster.api.items(reference("v1", "Event", namespace=job["metadata"]["namespace"]))
    assert len(found) == 25
    assert all(len(event["message"]) == 1024 for event in found)


def test_a_first_status_that_nobody_waits_for_comes_after_a_second_and_what_is_urgent_at_once(
    cluster: Cluster, namespace: str
) -> None:
    now = 0.0

    async def scenario(client: ApiClient) -> None:
        nonlocal now
        cache = Cache()
        writer = StatusWriter(client, cache, interval_seconds=5, clock=lambda: now)
        calm, refused = (submit(cluster.api, namespace, name=name) for name in ("calm", "refused"))
        starting, pending = JobStatus(phase=Phase.STARTING), JobStatus(phase=Phase.PENDING)

        assert (await writer.write(calm, starting, urgent=False)).rest_seconds == FIRST_SECONDS
        assert (await writer.write(refused, pending, urgent=True)).rest_seconds is None
        now = FIRST_SECONDS
        assert (await writer.write(calm, starting, urgent=False)).rest_seconds is None
        assert cluster.api.get(calm)["status"]["phase"] == "Starting"

    install_crd(cluster.api)
    with_client(cluster.kubeconfig, scenario)


def test_the_more_jobs_run_the_less_often_the_counts_of_each_are_written(
    cluster: Cluster, namespace: str
) -> None:
    async def scenario(client: ApiClient) -> None:
        writer = StatusWriter(client, Cache(), interval_seconds=5, writes_per_second=0.25, clock=lambda: 0.0)
        running = JobStatus(phase=Phase.RUNNING)
        counted = running.model_copy(update={"items": ItemCounts(done=1)})
        ended = JobStatus(phase=Phase.COMPLETE, completion_time=datetime.now(UTC))
        jobs = []
        for number, rest in ((1, 5.0), (2, 8.0), (3, 12.0)):
            job = submit(cluster.api, namespace, name=f"posters-{number}")
            jobs.append((await writer.write(job, running, urgent=True)).job)
            assert (await writer.write(jobs[0], counted, urgent=False)).rest_seconds == rest

        await writer.write(jobs[1], ended, urgent=True)
        assert (await writer.write(jobs[0], counted, urgent=False)).rest_seconds == 8.0
        writer.forget(jobs[2]["metadata"]["uid"])
        assert (await writer.write(jobs[0], counted, urgent=False)).rest_seconds == 5.0

    install_crd(cluster.api)
    with_client(cluster.kubeconfig, scenario)
