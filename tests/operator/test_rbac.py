"""Under its own service account the operator is refused nothing that it wants and holds no right that it never uses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asyncdiff_api.formats.container import HTTP_PORT
from support.cluster import Cluster, reference
from support.kubelet import (
    Await,
    CannotPull,
    Gate,
    Kubelet,
    Node,
    Report,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    progress,
)
from support.operator import Gateway, Nursery, Operator, Reply, Seen, operator_on
from support.operator.jobs import await_phase, condition, is_removed, status, submit
from support.operator.rights import granted, manifests
from support.processes import addresses_of_this_machine, is_free, wait_until

Document = dict[str, Any]

SYSTEM = "asyncdiff-system"
RBAC = "rbac.authorization.k8s.io/v1"
USER = f"system:serviceaccount:{SYSTEM}:asyncdiff-operator"


@dataclass(frozen=True)
class Stage:
    """An operator with the rights of the manifests, in a cluster with a node.

    Attributes:
        since: Where the audit log stood before the operator began.
    """

    plane: Cluster
    nodes: Kubelet
    gateway: Gateway
    operator: Operator
    since: int


@pytest.fixture(scope="module")
def stage(plane: Cluster, nodes: Kubelet, nursery: Nursery) -> Iterator[Stage]:
    """All lives have one operator, since each uses rights that others do not."""
    for document in manifests(plane):
        plane.api.apply(document)
    since = plane.audit.position()
    with Gateway(plane, USER, groups=()) as gateway:
        operator = Operator(
            nursery, gateway.kubeconfig, "operator-0", lease_namespace=SYSTEM, resync_seconds="2"
        )
        operator.start()
        yield Stage(plane, nodes, gateway, operator, since)
        operator.kill()


def conflict_once(stage: Stage, method: str, part: str) -> None:
    """Lets a kind of write fail the first time, as if someone had changed the object meanwhile."""
    left = [1]

    def refuse(seen: Seen) -> Reply | None:
        if seen.method == method and part in seen.path and left:
            left.clear()
            return Reply(409, "Conflict")
        return None

    stage.gateway.before = refuse


@contextmanager
def an_hour_later(stage: Stage) -> Iterator[None]:
    """The API server's clock jumps, so that nobody waits for a deadline."""
    stage.gateway.ahead = timedelta(hours=1)
    yield
    stage.gateway.ahead = timedelta(0)


def poked(stage: Stage, job: Document) -> bool:
    """Has the operator look at the job now; it would not see that the clock has jumped. Always true."""
    stage.plane.api.patch(job, {"metadata": {"annotations": {"poke": uuid.uuid4().hex}}})
    return True


def lives_and_goes(stage: Stage, namespace: str) -> None:
    """From creation to removal after its time, suspended and resumed on the way, with a conflict.

    Twice, so that what was said of it is said again: the event is read and counted.
    """
    gate = Gate()

    def held(pod: Any) -> Script:
        script = all_goes_well(2, 2)(pod)
        return script if is_finish(pod) else Script((Start(), Await(gate), *script.steps[1:]))

    stage.nodes.behave(namespace, held)
    stored = submit(stage.plane.api, namespace, {"spec.run": {"ttlSecondsAfterFinished": 1}})
    conflict_once(stage, "PATCH", "/jobs/")
    for _ in range(2):
        await_phase(stage.plane.api, stored, "Running")
        stage.plane.api.patch(stored, {"spec": {"run": {"suspend": True}}})
        await_phase(stage.plane.api, stored, "Suspended")
        stage.plane.api.patch(stored, {"spec": {"run": {"suspend": False}}})
    gate.open()
    wait_until(lambda: stage.plane.api.find(stored) is None, what="the job to be removed", seconds=90)


def waits_for_a_worklist(stage: Stage, namespace: str) -> None:
    """Its ConfigMap comes, and it ends."""
    source = {"worklist": {"configMap": {"name": "prompts", "key": "list.jsonl"}}}
    stored = submit(stage.plane.api, namespace, {"spec.generate": source})
    wait_until(
        lambda: condition(status(stage.plane.api, stored), "Accepted").get("reason") == "ConfigMapMissing",
        what="the operator to miss the ConfigMap",
    )
    worklist = {
        **reference("v1", "ConfigMap", "prompts", namespace),
        "data": {"list.jsonl": '{"prompt": "a"}'},
    }
    stage.plane.api.create(worklist)
    await_phase(stage.plane.api, stored, "Complete", seconds=90)


def never_starts(stage: Stage, namespace: str) -> None:
    """Its image cannot be pulled: the pods' events are asked for the reason."""
    stage.nodes.behave(
        namespace, lambda pod: all_goes_well(2, 2)(pod) if is_finish(pod) else Script((CannotPull(),))
    )
    stored = submit(stage.plane.api, namespace)
    pods = reference("v1", "Pod", namespace=namespace)
    wait_until(lambda: stage.plane.api.items(pods), what="the pods")
    with an_hour_later(stage):
        wait_until(
            lambda: poked(stage, stored) and status(stage.plane.api, stored).get("phase") == "Failed",
            what="the job to fail",
            pause=0.5,
        )


def loses_a_node(stage: Stage, namespace: str) -> None:
    """Its pods hang on a dead node and are removed by force, as it asks, once the clock says so."""
    stage.nodes.add_node(Node(name="doomed"))
    stage.nodes.behave(namespace, lambda _: Script((Start(),)))
    changes = {
        "spec.pod": {"nodeSelector": {"kubernetes.io/hostname": "doomed"}},
        "spec.run": {"forceDeleteAfterSeconds": 60, "drainSeconds": 1},
    }
    stored = submit(stage.plane.api, namespace, changes)
    await_phase(stage.plane.api, stored, "Running")
    stage.nodes.node_dies("doomed")
    pods = reference("v1", "Pod", namespace=namespace)
    stuck = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in stage.plane.api.items(pods)]
    for pod in stuck:
        stage.plane.api.delete(pod, gracePeriodSeconds="1")
    conflict_once(stage, "PATCH", "/pods/")
    with an_hour_later(stage):
        wait_until(
            lambda: poked(stage, stored) and all(is_removed(stage.plane.api, pod) for pod in stuck),
            what="the pods to be removed",
            pause=0.5,
        )
    stage.plane.api.delete(stored)


LIVES = [lives_and_goes, waits_for_a_worklist, never_starts, loses_a_node]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_the_operator_has_the_rights_for_a_job_that(life: Callable[[Stage, str], None], stage: Stage) -> None:
    life(stage, stage.plane.namespace())


def test_nothing_was_refused_and_no_right_was_idle(stage: Stage) -> None:
    events = [event for event in stage.plane.audit.events(stage.since) if event.user == USER]

    assert {(event.verb, event.resource) for event in events if event.code in (401, 403)} == set()
    used = {(event.verb, event.resource) for event in events if event.resource}
    assert granted(manifests(stage.plane)) == used


def test_the_token_of_the_service_account_is_enough(stage: Stage, nursery: Nursery) -> None:
    kubeconfig = stage.plane.kubeconfig_for_service_account(SYSTEM, "asyncdiff-operator")
    another = Operator(nursery, kubeconfig, "operator-1", lease_namespace=SYSTEM)
    another.start()
    assert stage.operator.stop() == 0
    wait_until(another.leads, what="the other replica to lead")
    assert another.stop() == 0


def test_pods_are_asked_through_the_api_server_from_when_that_is_granted_and_not_before(
    stage: Stage, nursery: Nursery
) -> None:
    free = (address for address in addresses_of_this_machine() if is_free(address, HTTP_PORT))
    if (address := next(free, None)) is None:
        pytest.skip(
            f"an API server passes nothing on to loopback addresses, and no other has port {HTTP_PORT} free"
        )
    namespace, api = stage.plane.namespace(), stage.plane.api
    stage.nodes.house_next_pod_at(address)
    half = counts(4, 2)
    stage.nodes.behave(namespace, lambda pod: Script((Start(), Report(progress(pod, 1, half)))))
    kubeconfig = stage.plane.kubeconfig_for_service_account(SYSTEM, "asyncdiff-operator")
    with operator_on(
        nursery, stage.plane, namespace, kubeconfig=kubeconfig, lease_namespace=SYSTEM, progress="proxy"
    ):
        one_shard = {"spec.parallelism": {"shards": 1, "gpusPerPod": 1, "pods": 1}}
        stored = submit(api, namespace, one_shard)
        wait_until(
            lambda: condition(status(api, stored), "Degraded").get("reason") == "ProgressUnknown",
            what="the operator to be refused",
            seconds=90,
        )
        assert status(api, stored)["items"]["done"] == 0
        rule = {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}
        role = reference(RBAC, "Role", "proxy", namespace)
        subject = {"kind": "ServiceAccount", "name": "asyncdiff-operator", "namespace": SYSTEM}
        granted_by = {"apiGroup": RBAC.partition("/")[0], "kind": "Role", "name": "proxy"}
        api.create({**role, "rules": [rule]})
        api.create({**role, "kind": "RoleBinding", "roleRef": granted_by, "subjects": [subject]})
        wait_until(
            lambda: status(api, stored)["items"]["done"] == 2, what="the pod's report to arrive", seconds=90
        )
        found = status(api, stored)
        assert condition(found, "Degraded")["reason"] == "Healthy"
        assert condition(found, "Progressing")["reason"] == "Generating"
    asked = [e for e in stage.plane.audit.events() if e.resource == "pods/proxy" and e.namespace == namespace]
    assert {event.user for event in asked} == {USER}
    assert {403, 200} <= {event.code for event in asked}
    api.delete(stored)
