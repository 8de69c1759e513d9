"""The operator is killed before and after every one of its writes, and the next one finishes the job right."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from support.cluster import Cluster, reference
from support.cluster.audit import WRITES as WRITING
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Kubelet,
    Node,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    job_result,
    shard_result,
)
from support.operator import Gateway, Nursery, Operator, Reply, Seen, operator_on
from support.operator.jobs import (
    Document,
    Manifest,
    await_phase,
    child_name,
    children,
    condition,
    is_removed,
    only_on,
    status,
    submit,
)
from support.operator.rights import Right, granted, manifests
from support.processes import wait_until

WRITES: dict[Right, str] = {
    ("create", "leases"): "the first replica's Lease",
    ("update", "leases"): "taken, renewed and given back",
    ("create", "configmaps"): "what the pods read",
    ("create", "jobs"): "shards and finish step",
    ("patch", "jobs"): "pods at once, suspension, deadline",
    ("patch", "asyncdiffjobs/status"): "what people see",
    ("create", "events"): "what people are told",
    ("patch", "events"): "what comes again is counted",
    ("patch", "pods/status"): "a pod that does not go is marked as failed",
    ("delete", "pods"): "and removed",
    ("delete", "asyncdiffjobs"): "a job that has ended for long enough",
}
"""Every kind of write that there is; each must be in the life of one of the jobs below."""

SHARDS = 2
LEASE_VERSION = "coordination.k8s.io/v1"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Deaths:
    """The kinds of writes before and after which an operator of this file was killed."""

    before: set[Right] = field(default_factory=set)
    after: set[Right] = field(default_factory=set)
    users: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def deaths() -> Deaths:
    return Deaths()


def kind_of(seen: Seen) -> Right:
    """The verb and the resource of a write in a namespace."""
    parts = seen.path.partition("/namespaces/")[2].split("/")[1:]
    return VERBS[seen.method], "/".join((parts[0], *parts[2:]))


def named(seen: Seen) -> str:
    """What a write does, the same when another life of the operator wants it again."""
    body = seen.body or {}
    verb, resource = kind_of(seen)
    if resource == "asyncdiffjobs/status":
        conditions = body["status"].get("conditions", ())
        said = ",".join(f"{each['type']}={each['reason']}" for each in conditions)
        return f"{verb} status {said or sorted(body['status'])}"
    if resource == "leases":
        return f"{verb} leases {'' if body['spec']['holderIdentity'] else 'given back'}"
    if verb == "patch" and resource == "jobs":
        return f"patch jobs {sorted(body.get('spec', ()))} {body.get('spec', {}).get('suspend', '')}"
    if resource == "events" and verb == "patch":
        return "patch events"
    return f"{verb} {resource} {body.get('metadata', {}).get('name', '')}"


def leaves_leases_alone(seen: Seen) -> bool:
    """The writes for jobs."""
    return seen.is_write


def looks_at_leases_alone(seen: Seen) -> bool:
    """The writes by which replicas agree."""
    return seen.method in VERBS and "/leases" in seen.path


@dataclass
class Executioner:
    """Kills at every write: when it is first asked for, and, once it is asked for again, when it has been done."""

    operator: Operator
    deaths: Deaths
    kills_at: Callable[[Seen], bool] = leaves_leases_alone
    before_it: list[str] = field(default_factory=list)
    after_it: list[str] = field(default_factory=list)
    dead: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a life ends or begins: what the one before had on its way must not end the next."""

    def before(self, seen: Seen) -> Reply | None:
        with self.lock:
            if not self.kills_at(seen):
                return None
            if self.dead.is_set():
                return Reply(503)
            if named(seen) in self.before_it:
                return None
            self._kill(seen, self.before_it, self.deaths.before)
            return Reply(503)

    def after(self, seen: Seen, code: int) -> None:
        with self.lock:
            done = self.kills_at(seen) and code < 300
            if done and not self.dead.is_set() and named(seen) not in self.after_it:
                self._kill(seen, self.after_it, self.deaths.after)

    def _kill(self, seen: Seen, record: list[str], kinds: set[Right]) -> None:
        self.operator.kill()
        record.append(named(seen))
        kinds.add(kind_of(seen))
        self.dead.set()

    def has_died_after(self, said: str) -> bool:
        return any(said in what for what in self.after_it)

    def looks(self) -> float:
        """How often this life of the operator has looked at a job; 0 if it is not up."""
        with self.lock:
            up = not self.dead.is_set() and self.operator.is_ready()
            return self.operator.metric("asyncdiff_operator_reconcile_seconds_count") if up else 0.0

    def give_birth_again(self) -> bool:
        """Starts the operator if it is dead; whether it was alive."""
        with self.lock:
            if not self.dead.is_set():
                return True
            self.operator.start(ready=False)
            self.dead.clear()
            return False


@contextmanager
def hunted(
    plane: Cluster, nursery: Nursery, deaths: Deaths, namespace: str
) -> Iterator[tuple[Gateway, Executioner]]:
    """An operator whose every write for a job is its death."""
    user = f"hunted-{namespace}"
    deaths.users.add(user)
    with (
        Gateway(plane, user) as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway, status_seconds="0") as operator,
    ):
        executioner = Executioner(operator, deaths)
        gateway.before, gateway.after = executioner.before, executioner.after
        yield gateway, executioner


def held_by(at_work: Gate, finishing: Gate) -> Callable[[Manifest], Script]:
    """Shards and finish step wait, so that no life of the operator misses what the one before it has seen."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            whole = job_result(pod, SHARDS, counts(4, 4))
            return Script((Start(), Await(finishing), Say(whole), Exit()))
        return Script((Start(), Await(at_work), Say(shard_result(pod, SHARDS, counts(2, 2))), Exit()))

    return script


def life_of(
    plane: Cluster, submitted: Document, executioner: Executioner, at_work: Gate, finishing: Gate
) -> Callable[[], bool]:
    """A job that people change on its way; gives what is to be called until it says that the job has ended.

    Each step waits until the operator has died of the one before.
    """
    api = plane.api

    def change(path: str, value: object) -> None:
        section, _, name = path.partition(".")
        api.patch(submitted, {"spec": {section: {name: value}}})

    def has_counted_an_event() -> bool:
        """Suspends and resumes in turn until one life of the operator has told the same thing twice."""
        if executioner.has_died_after("patch events"):
            return True
        wanted = bool(api.get(submitted)["spec"]["run"].get("suspend"))
        if condition(status(api, submitted), "Suspended").get("status") == str(wanted):
            change("run.suspend", not wanted)
        return False

    def died_after(said: str) -> Callable[[], bool]:
        return lambda: executioner.has_died_after(said)

    steps: list[tuple[Callable[[], bool], Callable[[], None]]] = [
        (died_after("Started=PodsRunning"), lambda: change("parallelism.pods", 1)),
        (died_after("patch jobs ['parallelism']"), lambda: change("run.activeDeadlineSeconds", 7200)),
        (died_after("patch jobs ['activeDeadlineSeconds']"), lambda: change("run.suspend", True)),
        (has_counted_an_event, lambda: change("run.suspend", False)),
        (died_after("'suspend'] False"), at_work.open),
        (died_after("Progressing=Finishing"), finishing.open),
        (lambda: status(api, submitted).get("phase") == "Complete", lambda: None),
    ]

    def over() -> bool:
        alive = executioner.give_birth_again()
        if steps and steps[0][0]():
            steps.pop(0)[1]()
        return alive and not steps and not executioner.dead.is_set()

    return over


def test_killed_before_and_after_each_of_its_writes_the_operator_still_ends_the_job_right(
    plane: Cluster, nodes: Kubelet, nursery: Nursery, deaths: Deaths
) -> None:
    namespace, api = plane.namespace(), plane.api
    at_work, finishing = Gate(), Gate()
    nodes.behave(namespace, held_by(at_work, finishing))
    with hunted(plane, nursery, deaths, namespace) as (_, executioner):
        submitted = submit(api, namespace)
        over = life_of(plane, submitted, executioner, at_work, finishing)
        wait_until(over, what="the job to end", seconds=240, pause=0.05)
        found = status(api, submitted)
        left = children(api, namespace)
        api.patch(submitted, {"spec": {"run": {"ttlSecondsAfterFinished": 1}}})

        def removed() -> bool:
            return executioner.give_birth_again() and api.find(submitted) is None

        wait_until(removed, what="the job to be removed", seconds=90, pause=0.05)

    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}
    assert found["shards"] == {"total": 2, "succeeded": 2, "running": 0, "failed": 0}
    assert condition(found, "Complete")["reason"] == "AllItemsDone"
    name = child_name(submitted)
    assert left["ConfigMap"] == [name]
    assert left["Job"] == [name, f"{name}-finish"]
    assert len(left["Pod"]) == SHARDS + 1, "no shard was worked off twice"
    events = api.items(reference("v1", "Event", namespace=namespace))
    told = [event["reason"] for event in events if event["involvedObject"]["kind"] == "AsyncDiffJob"]
    assert len(told) == len(set(told)), "no event is told twice"

    asked, done = executioner.before_it, executioner.after_it
    # counts and events may be overtaken by newer ones before the next life comes to them; these may not
    must = [f"create configmaps {name}", f"create jobs {name}", f"create jobs {name}-finish"]
    must += ["Started=PodsRunning", "Progressing=Finishing", "Complete=AllItemsDone"]
    for died in (asked, done):
        assert [what for what in must if not any(what in death for death in died)] == []


def test_killed_before_and_after_each_of_its_writes_the_operator_removes_a_stuck_pod_by_force_once(
    plane: Cluster, nodes: Kubelet, nursery: Nursery, deaths: Deaths
) -> None:
    namespace, api = plane.namespace(), plane.api
    nodes.add_node(Node(name="doomed"))
    nodes.behave(namespace, lambda _: Script((Start(),)))
    changes = {
        "spec.parallelism": {"shards": 1, "gpusPerPod": 1, "pods": 1},
        **only_on("doomed"),
        "spec.run": {"forceDeleteAfterSeconds": 60, "drainSeconds": 1},
    }
    with hunted(plane, nursery, deaths, namespace) as (gateway, executioner):
        submitted = submit(api, namespace, changes)

        def runs() -> bool:
            return executioner.give_birth_again() and status(api, submitted).get("phase") == "Running"

        wait_until(runs, what="the job to run", seconds=90)
        (pod,) = api.items(reference("v1", "Pod", namespace=namespace))
        pod = {"apiVersion": "v1", "kind": "Pod", **pod}
        nodes.node_dies("doomed")
        api.delete(pod, gracePeriodSeconds="1")
        gateway.ahead = timedelta(hours=1)

        def looks() -> float:
            executioner.give_birth_again()
            api.patch(submitted, {"metadata": {"annotations": {"poke": uuid.uuid4().hex}}})
            return executioner.looks()

        wait_until(
            lambda: looks() and is_removed(api, pod), what="the pod to be removed", seconds=90, pause=0.3
        )
        wait_until(lambda: looks() >= 5, what="more looks at the job", seconds=90, pause=0.3)

    done = [
        (event.verb, event.resource)
        for event in plane.audit.writes()
        if event.name == pod["metadata"]["name"] and event.user in deaths.users and event.code == 200
    ]
    assert done == [("patch", "pods/status"), ("delete", "pods")]


def test_killed_before_and_after_it_takes_and_gives_back_its_lease_the_operator_leads_again(
    plane: Cluster, nodes: Kubelet, nursery: Nursery, deaths: Deaths
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(2, 2))
    user = f"hunted-{namespace}"
    deaths.users.add(user)
    with (
        Gateway(plane, user) as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway) as operator,
    ):
        wait_until(operator.leads, what="it to lead", seconds=90)
        operator.kill()
        plane.api.delete(reference(LEASE_VERSION, "Lease", "asyncdiff-operator", namespace))
        executioner = Executioner(operator, deaths, looks_at_leases_alone)
        gateway.before, gateway.after = executioner.before, executioner.after
        operator.start(ready=False)
        submitted = submit(plane.api, namespace)

        def has_died_of(*writes: str) -> bool:
            alive = executioner.give_birth_again()
            return alive and set(writes) <= set(executioner.before_it) & set(executioner.after_it)

        wait_until(lambda: has_died_of("create leases ", "update leases "), what="its deaths", seconds=90)
        await_phase(plane.api, submitted, "Complete", seconds=90)

        def died_while_it_stopped() -> bool:
            gone = has_died_of("update leases given back")
            if not gone and not executioner.dead.is_set() and operator.leads():
                operator.process.signal(signal.SIGTERM)
                operator.process.wait()
            return gone

        wait_until(died_while_it_stopped, what="its deaths while it stops", seconds=90)
        wait_until(operator.leads, what="the operator to lead again", seconds=90)
        assert operator.stop() == 0
    lease = plane.api.get(reference(LEASE_VERSION, "Lease", "asyncdiff-operator", namespace))
    assert not lease["spec"].get("holderIdentity")


def test_the_operator_has_died_before_and_after_every_kind_of_write_that_it_makes(
    plane: Cluster, deaths: Deaths
) -> None:
    made = {(e.verb, e.resource) for e in plane.audit.writes() if e.user in deaths.users}
    assert made == set(WRITES)
    assert deaths.before == deaths.after == set(WRITES)
    allowed = {right for right in granted(manifests(plane)) if right[0] in WRITING}
    assert allowed == set(WRITES), "a write that the manifests allow is in no life above"
