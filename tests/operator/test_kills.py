"""The operator is killed before and after every one of its writes, and the next one finishes the job right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from support.cluster import Cluster, reference
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Kubelet,
    Say,
    Script,
    Start,
    counts,
    is_finish,
    job_result,
    shard_result,
)
from support.operator import Gateway, Nursery, Operator, Reply, Seen, operator_on
from support.operator.jobs import Manifest, children, condition, status, submit
from support.processes import wait_until

SHARDS = 2


def named(seen: Seen) -> str:
    """What a write does, the same when another life of the operator wants it again."""
    body = seen.body or {}
    resource = seen.path.rpartition(f"/{body.get('metadata', {}).get('name', '')}")[0] or seen.path
    if seen.path.endswith("/status"):
        conditions = body["status"].get("conditions", ())
        said = ",".join(f"{each['type']}={each['reason']}" for each in conditions)
        return f"PATCH status {said or sorted(body['status'])}"
    return f"{seen.method} {resource.rpartition('/')[2]} {body.get('metadata', {}).get('name', '')}"


@dataclass
class Executioner:
    """Kills at every write: when it is first asked for, and, once it is asked for again, when it has been done."""

    operator: Operator
    before_it: list[str] = field(default_factory=list)
    after_it: list[str] = field(default_factory=list)
    dead: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a life ends or begins: what the one before had on its way must not end the next."""

    def before(self, seen: Seen) -> Reply | None:
        with self.lock:
            if not seen.is_write:
                return None
            if self.dead.is_set():
                return Reply(503)
            if named(seen) in self.before_it:
                return None
            self._kill(self.before_it, seen)
            return Reply(503)

    def after(self, seen: Seen, _code: int) -> None:
        with self.lock:
            if seen.is_write and not self.dead.is_set() and named(seen) not in self.after_it:
                self._kill(self.after_it, seen)

    def _kill(self, record: list[str], seen: Seen) -> None:
        self.operator.kill()
        record.append(named(seen))
        self.dead.set()

    def has_died_after(self, said: str) -> bool:
        return any(said in what for what in self.after_it)

    def give_birth_again(self) -> None:
        with self.lock:
            if self.dead.is_set():
                self.operator.start(ready=False)
                self.dead.clear()


def held_by(at_work: Gate, finishing: Gate) -> Callable[[Manifest], Script]:
    """Shards and finish step wait, so that no life of the operator misses what the one before it has seen."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            whole = job_result(pod, SHARDS, counts(4, 4))
            return Script((Start(), Await(finishing), Say(whole), Exit()))
        return Script((Start(), Await(at_work), Say(shard_result(pod, SHARDS, counts(2, 2))), Exit()))

    return script


def test_killed_before_and_after_each_of_its_writes_the_operator_still_ends_the_job_right(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    at_work, finishing = Gate(), Gate()
    nodes.behave(namespace, held_by(at_work, finishing))
    with (
        Gateway(plane, "killed-operator") as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway, status_seconds="0") as operator,
    ):
        executioner = Executioner(operator)
        gateway.before, gateway.after = executioner.before, executioner.after
        submitted = submit(plane.api, namespace)

        def over() -> bool:
            executioner.give_birth_again()
            if executioner.has_died_after("Started=PodsRunning"):
                at_work.open()
            if executioner.has_died_after("Progressing=Finishing"):
                finishing.open()
            ended = status(plane.api, submitted).get("phase") == "Complete"
            return ended and not executioner.dead.is_set()

        wait_until(over, what="the job to end", seconds=120)
        found = status(plane.api, submitted)

    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}
    assert found["shards"] == {"total": 2, "succeeded": 2, "running": 0, "failed": 0}
    assert condition(found, "Complete")["reason"] == "AllItemsDone"
    name = f"posters-{submitted['metadata']['uid'][:8]}"
    found_children = children(plane.api, namespace)
    assert found_children["ConfigMap"] == [name]
    assert found_children["Job"] == [name, f"{name}-finish"]
    assert len(found_children["Pod"]) == SHARDS + 1, "no shard was worked off twice"
    events = plane.api.items(reference("v1", "Event", namespace=namespace))
    told = [event["reason"] for event in events if event["involvedObject"]["kind"] == "AsyncDiffJob"]
    assert len(told) == len(set(told)), "no event is told twice"

    asked, done = executioner.before_it, executioner.after_it
    assert set(done) <= set(asked)
    # counts and events may be overtaken by newer ones before the next life comes to them; these may not
    must = [f"POST configmaps {name}", f"POST jobs {name}", f"POST jobs {name}-finish"]
    must += ["Started=PodsRunning", "Progressing=Finishing", "Complete=AllItemsDone"]
    for deaths in (asked, done):
        assert [what for what in must if not any(what in death for death in deaths)] == []
