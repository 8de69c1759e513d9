"""Several replicas on one cluster: one writes, the others are ready to; read from the API server's audit log."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import groupby

from support.cluster import Cluster, reference
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Kubelet,
    Report,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    job_result,
    progress,
    shard_result,
)
from support.operator import Nursery, Operator, operator_on
from support.operator.jobs import (
    Document,
    Manifest,
    await_phase,
    child_name,
    children,
    status,
    submit,
    writes_of,
)
from support.processes import wait_until

LEASE = "asyncdiff-operator"


def lease(plane: Cluster, namespace: str) -> Document:
    found: Document = plane.api.get(reference("coordination.k8s.io/v1", "Lease", LEASE, namespace))["spec"]
    return found


def hold_until(gate: Gate, nodes: Kubelet, namespace: str) -> None:
    """Shards report half of their items and wait for the gate."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            return Script((Start(), Say(job_result(pod, 2, counts(4, 4))), Exit()))
        half, whole = counts(2, 1), counts(2, 2)
        return Script(
            (Start(), Report(progress(pod, 2, half)), Await(gate), Say(shard_result(pod, 2, whole)), Exit())
        )

    nodes.behave(namespace, script)


def test_a_leader_that_hangs_is_replaced_and_never_writes_again(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace, gate = plane.namespace(), Gate()
    hold_until(gate, nodes, namespace)
    with (
        operator_on(nursery, plane, namespace, lease_seconds="3") as first,
        operator_on(nursery, plane, namespace, lease_seconds="3") as second,
    ):
        wait_until(first.leads, what="the first to lead")
        submitted = submit(plane.api, namespace)
        await_phase(plane.api, submitted, "Running")
        first.hang()
        gate.open()
        await_phase(plane.api, submitted, "Complete")
        assert second.leads()
        first.go_on()
        assert first.process.wait() == 1
        assert "another replica may lead" in first.log()

        writers = [event.user for event in plane.audit.writes() if event.namespace == namespace]
        ours = [user for user in writers if user in (first.identity, second.identity)]
        assert [user for user, _ in groupby(ours)] == [first.identity, second.identity]
        assert writes_of(plane, first.identity)
        assert writes_of(plane, second.identity)


def test_a_leader_that_is_told_to_stop_hands_over_without_the_lease_running_out(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with (
        operator_on(nursery, plane, namespace, lease_seconds="300") as first,
        operator_on(nursery, plane, namespace, lease_seconds="15") as second,
    ):
        wait_until(first.leads, what="the first to lead")
        assert first.stop() == 0
        submitted = submit(plane.api, namespace)
        await_phase(plane.api, submitted, "Complete")
        assert lease(plane, namespace)["holderIdentity"] == second.identity
        assert lease(plane, namespace)["leaseTransitions"] == 1
        assert not writes_of(plane, first.identity)


def test_a_replica_that_does_not_lead_is_ready_knows_the_jobs_and_writes_nothing(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    with operator_on(nursery, plane, namespace) as first, operator_on(nursery, plane, namespace) as second:
        wait_until(first.leads, what="the first to lead")
        await_phase(plane.api, submit(plane.api, namespace), "Complete")
        complete = f'asyncdiff_jobs{{namespace="{namespace}",phase="Complete"}}'
        wait_until(lambda: first.metric(complete) == 1, what="the first to know of the end")
        assert second.is_ready()
        assert not second.leads()
        assert second.metric(complete) == 0, "only the leader counts"
        assert [event for event in plane.audit.writes() if event.user == second.identity] == []
        assert first.stop() == 0
        wait_until(second.leads, what="the second to lead")
        wait_until(
            lambda: second.metric(complete) == 1, what="it to count the job, which it has known all along"
        )


def test_a_leader_makes_what_new_jobs_need_before_it_looks_at_the_others(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace, user = plane.namespace(), "leader-of-many"
    nodes.behave(namespace, all_goes_well(2, 2))
    known = [submit(plane.api, namespace, name=f"job-{number}") for number in range(4)]
    for job in known:
        plane.api.patch(job, {"status": {"phase": "Pending"}}, subresource="status")
    new = submit(plane.api, namespace, name="the-last-of-the-list")

    with operator_on(nursery, plane, namespace, identity=user, workers="1"):
        wanted = sorted(child_name(job) for job in (*known, new))
        wait_until(
            lambda: children(plane.api, namespace)["ConfigMap"] == wanted, what="all to be made", seconds=90
        )

    made = [event for event in writes_of(plane, user) if event.resource == "configmaps"]
    assert min(made, key=lambda event: event.received).name == child_name(new)


def test_replicas_that_are_killed_one_after_the_other_never_write_at_the_same_time(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace, gate, replicas = plane.namespace(), Gate(), 3
    hold_until(gate, nodes, namespace)
    with ExitStack() as stack:
        running = [
            stack.enter_context(operator_on(nursery, plane, namespace, lease_seconds="3"))
            for _ in range(replicas)
        ]
        submitted = submit(plane.api, namespace)
        for _ in range(replicas - 1):
            leader = wait_until(lambda: _leader(running), what="one of them to lead")
            await_phase(plane.api, submitted, "Running")
            leader.kill()
            running.remove(leader)
        gate.open()
        await_phase(plane.api, submitted, "Complete")
        # of those who reach for the Lease at one time, all but the first are refused
        done = [event for event in plane.audit.writes() if event.namespace == namespace and event.code < 300]
        users = [event.user for event in done]
        turns = [user for user, _ in groupby(user for user in users if user.startswith("operator-"))]
        assert len(turns) == len(set(turns)) == replicas
        assert status(plane.api, submitted)["items"]["done"] == 4


def _leader(running: list[Operator]) -> Operator | None:
    return next((operator for operator in running if operator.leads()), None)
