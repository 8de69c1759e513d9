"""Requests that are refused, hang or lose their answers; events that get lost; an API server that is away."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from support.admission import install_crd
from support.cluster import Cluster, reference
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Kubelet,
    Node,
    Report,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    job_result,
    kubelet,
    progress,
    shard_result,
)
from support.operator import Gateway, Nursery, Reply, Seen, operator_on
from support.operator.jobs import Document, Manifest, await_phase, children, status, submit, writes_of
from support.processes import wait_until

if TYPE_CHECKING:
    from support.operator import Operator

HANG_SECONDS = 1.5


def held(gate: Gate) -> Callable[[Manifest], Script]:
    """Shards report half of their items and wait for the gate."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            return Script((Start(), Say(job_result(pod, 2, counts(4, 4))), Exit()))
        half, whole = counts(2, 1), counts(2, 2)
        return Script(
            (Start(), Report(progress(pod, 2, half)), Await(gate), Say(shard_result(pod, 2, whole)), Exit())
        )

    return script


def ended_right(plane: Cluster, submitted: Document) -> None:
    """The job is complete, and nothing was made twice."""
    found = await_phase(plane.api, submitted, "Complete", seconds=90)
    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}
    name = f"posters-{submitted['metadata']['uid'][:8]}"
    left = children(plane.api, submitted["metadata"]["namespace"])
    assert left["ConfigMap"] == [name]
    assert left["Job"] == [name, f"{name}-finish"]
    assert len(left["Pod"]) == 3


@dataclass
class EachWriteOnce:
    """Every write meets trouble the first time that it is asked for."""

    trouble: Callable[[], Reply | None]
    met: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, seen: Seen, *_: object) -> Reply | None:
        what = f"{seen.method} {seen.path} {(seen.body or {}).get('metadata', {}).get('name')}"
        with self.lock:
            if not seen.is_write or what in self.met:
                return None
            self.met.add(what)
        return self.trouble()


def hang() -> None:
    time.sleep(HANG_SECONDS)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda: Reply(409, "Conflict"), id="conflict"),
        pytest.param(lambda: Reply(429, "TooManyRequests", headers={"Retry-After": "1"}), id="slow-down"),
        pytest.param(lambda: Reply(500, "InternalError"), id="broken"),
        pytest.param(hang, id="hung"),
    ],
)
def test_a_job_ends_right_though_each_write_meets_trouble_first(
    plane: Cluster, nodes: Kubelet, nursery: Nursery, trouble: Callable[[], Reply | None]
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with (
        Gateway(plane, f"troubled-{namespace}") as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway, request_seconds="1") as operator,
    ):
        gateway.before = each = EachWriteOnce(trouble)
        ended_right(plane, submit(plane.api, namespace))
        assert len(each.met) >= 5
        assert operator.page("/healthz")


def test_a_job_ends_right_though_the_answer_to_each_write_is_lost_first(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with (
        Gateway(plane, f"lossy-{namespace}") as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway),
    ):
        gateway.after = EachWriteOnce(lambda: Reply(504, "Timeout"))
        ended_right(plane, submit(plane.api, namespace))


@dataclass
class BadWatch:
    """Loses, doubles and shuffles events, three of ten each."""

    chance: random.Random
    kept: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0

    def __call__(self, seen: Seen, line: bytes) -> list[bytes]:
        draw = self.chance.random()
        if draw < 0.3:
            self.lost += 1
            return []
        if draw < 0.6:
            return [line, line]
        self.kept[seen.path].append(line)
        if draw < 0.9:
            return []
        passed = self.kept.pop(seen.path)
        self.chance.shuffle(passed)
        return passed


def test_a_job_ends_right_though_events_are_lost_doubled_and_shuffled(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with Gateway(plane, f"shuffled-{namespace}") as gateway:
        gateway.mangle = watch = BadWatch(random.Random(20))
        with operator_on(nursery, plane, namespace, gateway=gateway, resync_seconds="1"):
            ended_right(plane, submit(plane.api, namespace))
    assert watch.lost


@pytest.fixture
def fresh() -> Iterator[tuple[Cluster, Kubelet]]:
    """A control plane for one outage: after a second one its controllers rest for half a minute."""
    with Cluster.start_control_plane() as cluster, kubelet(cluster, Node(name="gpu-1")) as running:
        install_crd(cluster.api)
        yield cluster, running


def test_in_an_outage_an_operator_lives_as_long_as_its_lease_and_a_successor_goes_on_after_it(
    fresh: tuple[Cluster, Kubelet], nursery: Nursery
) -> None:
    (plane, nodes), gate = fresh, Gate()
    lasting, brief = plane.namespace(), plane.namespace()
    for namespace in (lasting, brief):
        nodes.behave(namespace, held(gate))
    with (
        operator_on(nursery, plane, lasting, lease_seconds="60") as survivor,
        operator_on(nursery, plane, brief, lease_seconds="3") as mortal,
    ):
        jobs = [submit(plane.api, namespace) for namespace in (lasting, brief)]
        for submitted in jobs:
            await_phase(plane.api, submitted, "Running")
        plane.processes.kill("kube-apiserver")
        gate.open()
        assert mortal.process.wait() == 1
        mortal.start(ready=False)
        wait_until(lambda: "does not answer" in mortal.log(), what="the successor to find nobody")
        assert not mortal.is_ready()
        wait_until(lambda: "could not be renewed" in survivor.log(), what="the outage to be noticed")
        assert survivor.page("/healthz")
        plane.start_api_server()
        for submitted in jobs:
            ended_right(plane, submitted)
        assert not survivor.process.has_ended()


def test_an_operator_with_nothing_to_do_writes_nothing_but_its_lease(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with operator_on(nursery, plane, namespace, resync_seconds="1") as operator:
        jobs = [submit(plane.api, namespace, name=f"posters-{number}") for number in range(8)]
        for submitted in jobs:
            await_phase(plane.api, submitted, "Complete")
        _rest(operator)
        since = plane.audit.position()
        _rest(operator)
        _rest(operator)
        assert writes_of(plane, operator.identity, since) == []


def _rest(operator: Operator) -> None:
    """Waits until the operator has compared everything twice, and so has looked at every job."""
    listed = 'asyncdiff_operator_api_calls_total{code="200",resource="asyncdiffjobs",verb="list"}'
    enough = operator.metric(listed) + 2
    wait_until(lambda: operator.metric(listed) >= enough, what="two comparisons")


def test_news_of_a_running_job_are_written_no_oftener_than_asked_for(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace, gate = plane.namespace(), Gate()

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            return Script((Start(), Say(job_result(pod, 2, counts(400, 400))), Exit()))
        reports = tuple(Report(progress(pod, 2, counts(200, done))) for done in range(100))
        return Script((Start(), *reports, Await(gate), Say(shard_result(pod, 2, counts(200, 200))), Exit()))

    nodes.behave(namespace, script)
    with operator_on(nursery, plane, namespace, status_seconds="3600", progress_seconds="0.1") as operator:
        submitted = submit(plane.api, namespace)
        await_phase(plane.api, submitted, "Running")
        polled = "asyncdiff_operator_reconcile_seconds_count"
        enough = operator.metric(polled) + 5
        wait_until(lambda: operator.metric(polled) >= enough, what="reports to come in")
        gate.open()
        await_phase(plane.api, submitted, "Complete")
        written = [e for e in writes_of(plane, operator.identity) if e.resource == "asyncdiffjobs/status"]
        # waiting for pods, running, finishing, complete, and a condition that changed on the way
        assert len(written) <= 8


def test_a_cluster_without_the_definition_is_told_so(plane: Cluster, nursery: Nursery) -> None:
    with Gateway(plane, "early") as gateway:
        gateway.before = lambda seen: (
            Reply(404, "NotFound") if seen.path.startswith("/apis/asyncdiff.dev") else None
        )
        with (
            pytest.raises(RuntimeError, match="apply manifests/crd"),
            operator_on(nursery, plane, "default", gateway=gateway),
        ):
            pass


def test_missing_permissions_are_named(plane: Cluster, nursery: Nursery) -> None:
    namespace = plane.namespace()
    plane.api.create(reference("v1", "ServiceAccount", "powerless", namespace))
    kubeconfig = plane.kubeconfig_for_service_account(namespace, "powerless")
    with (
        pytest.raises(RuntimeError, match=r"cannot list resource .*asyncdiffjobs"),
        operator_on(nursery, plane, namespace, kubeconfig=kubeconfig),
    ):
        pass


def vanish(plane: Cluster, submitted: Document) -> None:
    """Deletes a job's children and then the job; the garbage collector may take half a minute to hear of its kind."""
    namespace = submitted["metadata"]["namespace"]
    name = f"{submitted['metadata']['name']}-{submitted['metadata']['uid'][:8]}"
    plane.api.delete(reference("v1", "ConfigMap", name, namespace))
    for job in (name, f"{name}-finish"):
        plane.api.delete(reference("batch/v1", "Job", job, namespace), propagationPolicy="Background")
    plane.api.delete(submitted)


def test_jobs_that_vanish_while_the_watches_are_away_leave_no_ghosts(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with operator_on(nursery, plane, namespace, lease_seconds="600", resync_seconds="3600") as operator:
        gone, stays = (submit(plane.api, namespace, name=name) for name in ("gone", "stays"))
        for submitted in (gone, stays):
            await_phase(plane.api, submitted, "Complete")
        complete = f'asyncdiff_jobs{{namespace="{namespace}",phase="Complete"}}'
        wait_until(lambda: operator.metric(complete) == 2, what="both to be known")
        operator.hang()
        # No test comes after this one: Kubernetes' own controllers rest for up to half a minute after an outage.
        vanish(plane, gone)
        plane.processes.kill("kube-apiserver")  # which then knows no version as old as the watches'
        plane.start_api_server()
        operator.go_on()

        wait_until(lambda: operator.metric(complete) == 1, what="the ghost to go", seconds=90)
        assert status(plane.api, stays)["phase"] == "Complete"
