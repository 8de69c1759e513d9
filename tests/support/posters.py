"""A job as a test writes its status by hand, for those who only read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_operator.names import INDEX_ANNOTATION, STEP_LABEL, Step, labels_of

from support.cluster import reference
from support.jobs import job
from support.processes import wait_until

if TYPE_CHECKING:
    from support.cluster import Cluster

Document = dict[str, Any]
Manifest = Mapping[str, Any]

NODE = "commands"


def moment(*, minutes: float = 0) -> str:
    """A time from now, as Kubernetes writes it."""
    return f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def work() -> Document:
    """The status of a job that has been at work for three minutes and has five and a half to go."""
    return {
        "phase": "Running",
        "startTime": moment(minutes=-3),
        "estimatedCompletionTime": moment(minutes=5.5),
        "items": {"total": 64, "done": 40, "failed": 1, "running": 8},
        "shards": {"total": 4, "succeeded": 2, "running": 2, "failed": 0},
        "throughput": {"itemsPerSecond": 2.0, "speedup": 3.5, "secondsPerItem": {"p50": 1.0, "p95": 1.5}},
        "plan": {"strategy": "Lookahead", "stages": 2, "dataParallel": 2, "reason": "named by the job"},
        "output": {"uri": "s3://renders/posters/"},
    }


def condition(kind: str, status: str, reason: Reason, message: str = "") -> Document:
    """A condition as the operator writes it."""
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": moment()}


COMPLETE = condition("Complete", "True", Reason.ALL_ITEMS_DONE, "64 items are done.")
FAILED = condition("Failed", "True", Reason.MODEL_UNAVAILABLE, "the model is gated")


def write_status(cluster: Cluster, stored: Manifest, status: Document) -> None:
    """Says in the operator's place how a job is."""
    cluster.api.patch(stored, {"status": status}, subresource="status")


def created(cluster: Cluster, namespace: str, status: Document | None = None) -> Document:
    """A job named posters; without a status no operator has seen it."""
    document = job()
    stored = cluster.api.create({**document, "metadata": {"name": "posters", "namespace": namespace}})
    if status is not None:
        write_status(cluster, stored, status)
    return stored


def pod(cluster: Cluster, stored: Manifest, name: str, shard: int | None) -> Document:
    """A pod of a job on the node `NODE`; shard None is the finish step."""
    step = Step.FINISH if shard is None else Step.SHARDS
    metadata = {
        "name": name,
        "namespace": stored["metadata"]["namespace"],
        "labels": {**labels_of(stored), STEP_LABEL: step},
        "annotations": {} if shard is None else {INDEX_ANNOTATION: str(shard)},
    }
    container = {"name": "runtime", "image": "registry.example/runtime:1"}
    spec = {"nodeName": NODE, "restartPolicy": "Never", "containers": [container]}
    return cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def wait_for_phase(cluster: Cluster, document: Manifest, phase: str) -> None:
    """Waits for a pod's phase."""
    wait_until(lambda: cluster.api.get(document)["status"]["phase"] == phase, what=f"a pod to be {phase}")


def posters(namespace: str) -> Document:
    """Names the job."""
    return reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", "posters", namespace)
