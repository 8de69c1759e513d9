"""What gets lost around a job: nodes, pods, their last words, a request to remove one; and clocks that differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from support.cluster import Cluster, reference
from support.kubelet import (
    Exit,
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
    progress,
    shard_result,
)
from support.operator import Gateway, Nursery, Reply, Seen, Stage, once, operator_on
from support.operator.jobs import Document, Manifest, await_phase, condition, only_on, status, submit
from support.processes import wait_until

ONE_SHARD = {"shards": 1, "gpusPerPod": 1, "pods": 1}


def running_on(stage: Stage, node: str, **run: int) -> tuple[Document, Document]:
    """A job whose pod has made half of the items on a node of its own; gives both."""
    namespace, api = stage.plane.namespace(), stage.plane.api
    stage.nodes.add_node(Node(name=node))
    stage.nodes.behave(namespace, lambda pod: Script((Start(), Report(progress(pod, 1, counts(4, 2))))))
    changes = {"spec.parallelism": ONE_SHARD, "spec.run": {"drainSeconds": 1, **run}}
    stored = submit(api, namespace, {**changes, **only_on(node, f"after-{node}")})
    wait_until(
        lambda: (status(api, stored).get("items") or {}).get("done") == 2,
        what="half of the items",
        seconds=90,
    )
    (pod,) = api.items(reference("v1", "Pod", namespace=namespace))
    stage.nodes.behave(namespace, all_goes_well(1, 4))
    return stored, {"apiVersion": "v1", "kind": "Pod", **pod}


@dataclass(frozen=True)
class Losses:
    """Jobs that have lost their pods, and have room for others since.

    Attributes:
        dead: Its node lost its power; its pod was removed by force.
        refused: Answers to requests to remove that pod which were refused.
        removed: Its node and its pod are no more.
        meanwhile: What its status said before there was room for another pod.
        deleted: Somebody deleted its pod.
    """

    dead: Document
    refused: list[int]
    removed: Document
    meanwhile: Document
    deleted: Document


@pytest.fixture(scope="module")
def losses(stage: Stage) -> Losses:
    """All at once: Kubernetes waits for ten seconds before it replaces a pod."""
    api = stage.plane.api
    deleted, unloved = running_on(stage, "peaceful")
    api.delete(unloved, gracePeriodSeconds="1")
    stage.await_stand(deleted, "Progressing", "False", "PodsReplaced")
    dead, stuck = running_on(stage, "dying", forceDeleteAfterSeconds=60)
    removed, gone = running_on(stage, "vanishing")
    stage.nodes.node_is_removed("vanishing")
    stage.nodes.node_dies("dying")
    api.delete(stuck, gracePeriodSeconds="1")
    refused = remove_by_force(stage, dead, stuck)
    wait_until(lambda: api.find(gone) is None, what="the pod to be gone", seconds=90)
    stage.await_stand(removed, "Progressing", "False", "PodsReplaced")
    meanwhile = status(api, removed)
    for node in ("after-dying", "after-vanishing"):
        stage.nodes.add_node(Node(name=node))
    return Losses(dead, refused, removed, meanwhile, deleted)


def remove_by_force(stage: Stage, stored: Document, stuck: Document) -> list[int]:
    """Lets the time of a stuck pod run out; the first request to remove it is refused."""
    refused: list[int] = []
    refuse = once("DELETE", f"/pods/{stuck['metadata']['name']}", Reply(409, "Conflict"))

    def noted(seen: Seen) -> Reply | None:
        if (reply := refuse(seen)) is not None:
            refused.append(reply.code)
        return reply

    def removed() -> bool:
        stage.poke(stored)
        return stage.plane.api.find(stuck) is None

    with pytest.MonkeyPatch.context() as patch, stage.later(hours=1):
        patch.setattr(stage.gateway, "before", noted)
        wait_until(removed, what="the pod to be removed", seconds=90, pause=0.3)
    return refused


def test_a_pod_whose_removal_by_force_is_refused_at_first_is_removed_and_its_shard_goes_on(
    stage: Stage, losses: Losses
) -> None:
    assert losses.refused == [409]
    found = await_phase(stage.plane.api, losses.dead, "Complete", seconds=120)
    assert found["items"]["done"] == 4


def test_a_node_that_is_removed_with_its_pods_costs_their_work_in_hand_and_nothing_that_was_counted(
    stage: Stage, losses: Losses
) -> None:
    assert losses.meanwhile["items"]["done"] == 2
    found = await_phase(stage.plane.api, losses.removed, "Complete", seconds=120)
    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}


def test_a_pod_that_somebody_deletes_is_replaced_and_its_shard_goes_on(stage: Stage, losses: Losses) -> None:
    found = await_phase(stage.plane.api, losses.deleted, "Complete", seconds=120)
    assert found["items"]["done"] == 4


@pytest.mark.parametrize("silent", ["the shards", "the finish step"])
def test_a_termination_message_that_is_missing_is_made_up_for_by_the_others(
    stage: Stage, silent: str
) -> None:
    namespace, api = stage.plane.namespace(), stage.plane.api

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            says, mute = Say(job_result(pod, 2, counts(4, 4))), silent == "the finish step"
        else:
            says, mute = Say(shard_result(pod, 2, counts(2, 2))), silent == "the shards"
        return Script((Start(), Exit()) if mute else (Start(), says, Exit()))

    stage.nodes.behave(namespace, script)
    stored = submit(api, namespace)
    found = await_phase(api, stored, "Complete", "Failed", seconds=90)
    assert condition(found, "Complete")["reason"] == "AllItemsDone"
    assert found["items"] == {"total": 4, "done": 4, "failed": 0, "rejected": 0, "running": 0}


@pytest.mark.parametrize("hours", [-5, 5])
def test_an_operator_whose_clock_is_hours_off_ends_a_job_in_time(
    plane: Cluster, nodes: Kubelet, nursery: Nursery, hours: int
) -> None:
    namespace, api = plane.namespace(), plane.api
    nodes.behave(namespace, all_goes_well(2, 2))
    with Gateway(plane, f"skewed-{namespace}") as gateway:
        gateway.skew = timedelta(hours=hours)
        with operator_on(nursery, plane, namespace, gateway=gateway):
            stored = submit(api, namespace, {"spec.run": {"ttlSecondsAfterFinished": 3600}})
            found = await_phase(api, stored, "Complete", "Failed", seconds=90)
            assert found["phase"] == "Complete", found["conditions"]
            brief = submit(api, namespace, {"spec.run": {"ttlSecondsAfterFinished": 1}}, name="brief")
            wait_until(lambda: api.find(brief) is None, what="the brief job to be removed", seconds=90)
            assert api.find(stored) is not None, "its time is not over"
    moments = [stored["metadata"]["creationTimestamp"], found["startTime"], found["completionTime"]]
    times = [datetime.fromisoformat(moment) for moment in moments]
    seconds = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(-2 <= passed <= 120 for passed in seconds), moments
