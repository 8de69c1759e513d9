"""The operator is killed before and after every one of its writes, and the next one finishes the job right."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from support.cluster import Cluster, reference
from support.kubelet import Kubelet, all_goes_well
from support.operator import Gateway, Nursery, Operator, Reply, Seen, operator_on
from support.operator.jobs import children, condition, status, submit
from support.processes import wait_until

SHARDS, ITEMS_PER_SHARD = 2, 2


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

    def before(self, seen: Seen) -> Reply | None:
        if not seen.is_write:
            return None
        if self.dead.is_set():
            return Reply(503)
        if named(seen) in self.before_it:
            return None
        self._kill(self.before_it, seen)
        return Reply(503)

    def after(self, seen: Seen, _code: int) -> None:
        if seen.is_write and not self.dead.is_set() and named(seen) not in self.after_it:
            self._kill(self.after_it, seen)

    def _kill(self, record: list[str], seen: Seen) -> None:
        self.dead.set()
        self.operator.kill()
        record.append(named(seen))

    def give_birth_again(self) -> None:
        if self.dead.is_set():
            self.operator.start(ready=False)
            self.dead.clear()


def test_killed_before_and_after_each_of_its_writes_the_operator_still_ends_the_job_right(
    plane: Cluster, nodes: Kubelet, nursery: Nursery
) -> None:
    namespace = plane.namespace()
    nodes.behave(namespace, all_goes_well(SHARDS, ITEMS_PER_SHARD))
    with (
        Gateway(plane, "killed-operator") as gateway,
        operator_on(nursery, plane, namespace, gateway=gateway, status_seconds="0") as operator,
    ):
        executioner = Executioner(operator)
        gateway.before, gateway.after = executioner.before, executioner.after
        submitted = submit(plane.api, namespace)

        def over() -> bool:
            executioner.give_birth_again()
            ended = status(plane.api, submitted).get("phase") == "Complete"
            return ended and not executioner.dead.is_set() and operator.is_ready()

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
    # a status or an event may be overtaken by a newer one before the next life comes to it; a child may not
    creations = {f"POST configmaps {name}", f"POST jobs {name}", f"POST jobs {name}-finish"}
    for deaths in (asked, done):
        assert creations <= set(deaths)
        assert any("Complete=AllItemsDone" in what for what in deaths)
    assert len(asked) + len(done) >= 16
