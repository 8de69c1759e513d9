"""What people do to a job and to its children while it runs: put back, made again, told of, or the job's end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.cluster import reference
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    job_result,
    shard_result,
)
from support.operator import Reply, Seen, Stage
from support.operator.jobs import Document, Manifest, await_phase, child_name, children, status, submit
from support.processes import wait_until

UID_LABEL = "asyncdiff.dev/job-uid"


def held_by(gate: Gate, finishing: Gate | None = None) -> Callable[[Manifest], Script]:
    """Shards wait for a gate, and perhaps the finish step for another."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            waits = (Await(finishing),) if finishing is not None else ()
            return Script((Start(), *waits, Say(job_result(pod, 2, counts(4, 4))), Exit()))
        return Script((Start(), Await(gate), Say(shard_result(pod, 2, counts(2, 2))), Exit()))

    return script


def running(stage: Stage, gate: Gate, finishing: Gate | None = None) -> Document:
    """A job whose pods run and wait for the gate."""
    namespace = stage.plane.namespace()
    stage.nodes.behave(namespace, held_by(gate, finishing))
    stored = submit(stage.plane.api, namespace)
    await_phase(stage.plane.api, stored, "Running")
    return stored


def child(stored: Document, kind: str, step: str = "") -> Document:
    """Names a child of a job."""
    versions = {"Job": "batch/v1", "ConfigMap": "v1"}
    name = child_name(stored) + (f"-{step}" if step else "")
    return reference(versions[kind], kind, name, stored["metadata"]["namespace"])


def ends_right(stage: Stage, stored: Document, pods: int = 3) -> None:
    """The job is complete, and no shard was worked off twice."""
    found = await_phase(stage.plane.api, stored, "Complete", seconds=90)
    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}
    left = children(stage.plane.api, stored["metadata"]["namespace"])
    assert left["Job"] == [child_name(stored), f"{child_name(stored)}-finish"]
    assert len(left["Pod"]) == pods


def test_what_a_person_edits_on_the_job_of_the_shards_is_put_back(stage: Stage) -> None:
    gate = Gate()
    stored = running(stage, gate)
    api, shards = stage.plane.api, child(stored, "Job")
    wanted = {"parallelism": 2, "suspend": False, "activeDeadlineSeconds": None}
    api.patch(shards, {"spec": {"parallelism": 0, "activeDeadlineSeconds": 86_400}})

    def put_back() -> bool:
        spec = api.get(shards)["spec"]
        return {name: spec.get(name) for name in wanted} == wanted

    wait_until(put_back, what="parallelism and deadline to be put back", seconds=90)
    api.patch(shards, {"spec": {"suspend": True}})
    wait_until(put_back, what="the Job to be resumed", seconds=90)
    gate.open()
    await_phase(api, stored, "Complete", seconds=120)
    assert status(api, stored)["items"]["done"] == 4


def test_a_config_map_that_is_deleted_is_made_again_word_for_word(stage: Stage) -> None:
    gate = Gate()
    stored = running(stage, gate)
    api, config = stage.plane.api, child(stored, "ConfigMap")
    before = api.get(config)
    api.delete(config)
    after = wait_until(lambda: api.find(config), what="the ConfigMap to be made again", seconds=90)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert (after["data"], after["immutable"]) == (before["data"], True)
    gate.open()
    ends_right(stage, stored)


def test_a_job_of_the_shards_that_is_deleted_ends_the_job_and_is_not_made_again(stage: Stage) -> None:
    stored = running(stage, Gate())
    stage.plane.api.delete(child(stored, "Job"), propagationPolicy="Background")
    message = stage.await_stand(stored, "Failed", "True", "ChildDeleted")
    assert f"The Job {child_name(stored)} was deleted by someone else." in message
    assert children(stage.plane.api, stored["metadata"]["namespace"])["Job"] == []


def test_a_finish_step_that_is_deleted_is_made_again(stage: Stage) -> None:
    gate, finishing = Gate(), Gate()
    stored = running(stage, gate, finishing)
    gate.open()
    api, step = stage.plane.api, child(stored, "Job", "finish")
    before = wait_until(lambda: api.find(step), what="the finish step", seconds=90)
    api.delete(step, propagationPolicy="Background")

    def again() -> bool:
        found = api.find(step)
        return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

    wait_until(again, what="another finish step", seconds=90)
    finishing.open()
    ends_right(stage, stored)


@pytest.mark.parametrize(
    ("kind", "mark", "words"),
    [
        ("Job", {"labels": {UID_LABEL: None}}, f"has lost the label {UID_LABEL}="),
        ("Job", {"ownerReferences": None}, "has no owner reference to the AsyncDiffJob posters"),
        ("ConfigMap", {"labels": {UID_LABEL: None}}, f"has lost the label {UID_LABEL}="),
        ("ConfigMap", {"ownerReferences": None}, "has no owner reference to the AsyncDiffJob posters"),
    ],
    ids=["Job, label", "Job, owner", "ConfigMap, label", "ConfigMap, owner"],
)
def test_a_child_that_lost_a_mark_is_left_alone_and_told_of_until_the_mark_is_put_back(
    stage: Stage, kind: str, mark: Document, words: str
) -> None:
    gate = Gate()
    stored = running(stage, gate)
    api, lost = stage.plane.api, child(stored, kind)
    before = api.get(lost)
    api.patch(lost, {"metadata": mark})
    message = stage.await_stand(stored, "Degraded", "True", "ChildDisowned")
    assert f"{kind} {child_name(stored)} {words}" in message
    assert message.endswith("and the job goes on by itself.")
    assert status(api, stored)["phase"] == "Running"
    left = api.get(lost)
    assert left["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]

    marks = {name: before["metadata"][name] for name in ("labels", "ownerReferences")}
    api.patch(lost, {"metadata": marks})
    stage.await_stand(stored, "Degraded", "False", "Healthy")
    gate.open()
    ends_right(stage, stored)


def test_a_job_that_is_created_again_at_once_has_nothing_to_do_with_the_first(stage: Stage) -> None:
    gate, slow = Gate(), Gate()
    namespace, api = stage.plane.namespace(), stage.plane.api

    def lingering(pod: Manifest) -> Script:
        return Script(held_by(gate)(pod).steps, on_termination=(Await(slow), Exit()))

    stage.nodes.behave(namespace, lingering)
    first = submit(api, namespace)
    await_phase(api, first, "Running")
    of_first = {pod["metadata"]["uid"] for pod in api.items(reference("v1", "Pod", namespace=namespace))}
    api.delete(first, propagationPolicy="Background")
    second = submit(api, namespace)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    await_phase(api, second, "Running", seconds=90)
    wait_until(
        lambda: going(stage, namespace) == of_first, what="the first one's pods to be going", seconds=90
    )
    assert api.find(child(second, "Job")) is not None

    slow.open()
    gate.open()
    wait_until(lambda: not going(stage, namespace), what="the first one's pods to be gone", seconds=90)
    wait_until(lambda: api.find(child(first, "Job")) is None, what="the first one's Job to go", seconds=90)
    ends_right(stage, second)
    assert children(api, namespace)["ConfigMap"] == [child_name(second)]


def going(stage: Stage, namespace: str) -> set[str]:
    """The pods that were asked to go and are still there, by uid."""
    pods = stage.plane.api.items(reference("v1", "Pod", namespace=namespace))
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" in pod["metadata"]}


def test_more_failed_items_that_are_allowed_later_count_at_the_end_and_not_for_the_shards(
    stage: Stage,
) -> None:
    gate = Gate()
    stored = running(stage, gate)
    api = stage.plane.api
    api.patch(stored, {"spec": {"acceptance": {"maxFailedItems": 7}}})
    gate.open()
    ends_right(stage, stored)

    def allowed(config: Document) -> Any:
        return json.loads(api.get(config)["data"]["job.json"])["spec"]["acceptance"]["maxFailedItems"]

    volumes = api.get(child(stored, "Job", "finish"))["spec"]["template"]["spec"]["volumes"]
    (read,) = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
    assert read == f"{child_name(stored)}-finish"
    assert allowed(child(stored, "ConfigMap")) == 0
    assert allowed(child(stored, "ConfigMap", "finish")) == 7


def test_what_suspends_a_job_each_time_is_not_fought_with_and_the_job_goes_on_when_it_lets_go(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kueue does so with Jobs that name no queue, where it is told to manage every Job."""
    namespace, api = stage.plane.namespace(), stage.plane.api
    stage.nodes.behave(namespace, all_goes_well(2, 2))
    resumed: list[str] = []

    def jailer(seen: Seen, code: int) -> Reply | None:
        spec = (seen.body or {}).get("spec") or {}
        if code < 300 and f"/{namespace}/jobs" in seen.path and spec.get("suspend") is False:
            resumed.append(seen.method)
            name = seen.path.rpartition("/jobs")[2].strip("/") or seen.body["metadata"]["name"]
            api.patch(reference("batch/v1", "Job", name, namespace), {"spec": {"suspend": True}})
        return None

    monkeypatch.setattr(stage.gateway, "after", jailer)
    stored = submit(api, namespace)
    message = stage.await_stand(stored, "Suspended", "True", "SuspendedByOthers")
    assert f"The Job {child_name(stored)} was resumed 3 times" in message
    assert "create the job again with run.queueName" in message
    assert status(api, stored)["phase"] == "Suspended"
    stage.await_stand(stored, "Degraded", "True", "SuspendedByOthers")
    since = stage.plane.audit.position()
    stage.await_looks(2)
    assert [event for event in stage.written(namespace, since) if event.resource == "jobs"] == []
    assert resumed == ["POST", *3 * ["PATCH"]]

    api.patch(child(stored, "Job"), {"spec": {"suspend": False}})
    ends_right(stage, stored)


def test_a_job_in_a_queue_is_suspended_and_resumed_by_the_queue_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    namespace, api = stage.plane.namespace(), stage.plane.api
    stage.nodes.behave(namespace, held_by(gate))
    sent: list[Document] = []

    def listen(seen: Seen) -> None:
        if seen.method == "PATCH" and f"/{namespace}/jobs/" in seen.path:
            sent.append(seen.body)

    monkeypatch.setattr(stage.gateway, "before", listen)
    stored = submit(api, namespace, {"spec.run": {"queueName": "gpus", "activeDeadlineSeconds": 3600}})
    stage.await_stand(stored, "Suspended", "True", "SuspendedByQueue")
    job = child(stored, "Job")
    made = api.get(job)
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert made["spec"]["suspend"] is True

    api.patch(job, {"spec": {"suspend": False}})  # admitted
    await_phase(api, stored, "Running", seconds=90)
    api.patch(job, {"spec": {"suspend": True}})  # its quota is taken back
    stage.await_stand(stored, "Suspended", "True", "SuspendedByQueue")
    api.patch(stored, {"spec": {"run": {"activeDeadlineSeconds": 7200}}})
    wait_until(
        lambda: api.get(job)["spec"]["activeDeadlineSeconds"] == 7200, what="the new deadline", seconds=90
    )
    assert api.get(job)["spec"]["suspend"] is True
    api.patch(job, {"spec": {"suspend": False, "parallelism": 1}})  # admitted in part
    gate.open()
    await_phase(api, stored, "Complete", seconds=120)
    assert api.get(job)["spec"]["parallelism"] == 1
    assert sent
    assert [body for body in sent if not set(body["spec"]) <= {"activeDeadlineSeconds"}] == []
