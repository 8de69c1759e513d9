"""What there is to say of a job in a cluster, gathered from its status, its pods and its events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import urllib3
from asyncdiff_api.formats.container import HTTP_PORT, PROGRESS_PATH
from asyncdiff_api.formats.errors import ContractError
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.formats.result import Result
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType, JobStatus

from asyncdiff_operator.commands.cluster import Cluster, Document
from asyncdiff_operator.names import INDEX_ANNOTATION, JOB_UID_LABEL, STEP_LABEL, Step
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import EVENTS, PODS

MOST_ASKED_PODS: Final = 8
"""Running pods that are asked for a report; a look at a large job must not become a thousand requests."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_PATIENCE: Final = urllib3.Timeout(connect=2.0, read=2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView:
    """A pod of a job."""

    name: str
    step: str
    shard: int | None
    """None in the finish step."""
    state: str
    """As `kubectl get pods` has it: Running, ImagePullBackOff, OOMKilled, Completed …"""
    node: str
    created_at: datetime
    exit_code: int | None = None
    result: Result | None = None
    """What it left when it ended."""
    progress: Progress | None = None
    """What it says now, where it could be asked."""

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return self.state == "Running"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventView:
    """An event about a job."""

    at: datetime | None
    type: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A job at one moment."""

    manifest: Manifest
    status: JobStatus
    pods: tuple[PodView, ...] = ()
    events: tuple[EventView, ...] = ()

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.manifest["metadata"]["name"])

    def condition(self, kind: ConditionType) -> Condition | None:
        """Gives a condition; None while the operator has not said anything of it."""
        return next((each for each in self.status.conditions if each.type == kind), None)

    def holds(self, kind: ConditionType) -> bool:
        """Whether a condition is True."""
        found = self.condition(kind)
        return found is not None and found.status is ConditionStatus.TRUE

    @property
    def failed(self) -> bool:
        """Whether the job has ended without success."""
        return self.holds(ConditionType.FAILED)

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.failed or self.holds(ConditionType.COMPLETE)

    def as_json(self) -> Document:
        """What `--json` prints: status as stored, and what was found beside it."""
        return {
            "name": self.name,
            "namespace": self.manifest["metadata"]["namespace"],
            "uid": self.manifest["metadata"]["uid"],
            "status": self.manifest.get("status", {}),
            "pods": [_pod_json(pod) for pod in self.pods],
            "events": [
                {
                    "at": None if event.at is None else event.at.isoformat(),
                    "type": event.type,
                    "reason": event.reason,
                    "message": event.message,
                    "count": event.count,
                }
                for event in self.events
            ],
        }


def look(cluster: Cluster, name: str) -> JobView:
    """Gives a job with its pods and events. What the person may not read is left out, but for the job itself.

    Raises:
        ContractError: The job cannot be read.
    """
    manifest = cluster.job(name)
    uid = manifest["metadata"]["uid"]
    try:
        pods = pods_of(cluster, uid)
    except ContractError:
        pods = ()
    try:
        events = cluster.items(EVENTS, fieldSelector=f"involvedObject.uid={uid}")
    except ContractError:
        events = []
    return JobView(
        manifest=manifest,
        status=status_of(manifest),
        pods=tuple(_asked(cluster, pods)),
        events=tuple(sorted(map(_event, events), key=lambda event: event.at or _LONG_AGO)),
    )


def status_of(manifest: Manifest) -> JobStatus:
    """Gives a job's status; empty while the operator has not seen it."""
    return JobStatus.model_validate_json(json.dumps(manifest.get("status", {})))


def pods_of(cluster: Cluster, uid: str) -> tuple[PodView, ...]:
    """Gives the pods of a job by its uid, in the order in which they were made."""
    found = cluster.items(PODS, labelSelector=f"{JOB_UID_LABEL}={uid}")
    return tuple(sorted(map(pod_view, found), key=lambda pod: (pod.created_at, pod.name)))


def pod_view(pod: Manifest) -> PodView:
    """Reads a pod."""
    metadata, status = pod["metadata"], pod.get("status", {})
    index = metadata.get("annotations", {}).get(INDEX_ANNOTATION)
    step = metadata.get("labels", {}).get(STEP_LABEL, "")
    terminated = _container_state(status).get("terminated") or {}
    return PodView(
        name=metadata["name"],
        step=step,
        shard=int(index) if index is not None and step == Step.SHARDS else None,
        state=_state(pod),
        node=pod.get("spec", {}).get("nodeName", ""),
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        exit_code=terminated.get("exitCode"),
        result=_result(str(terminated.get("message", ""))),
    )


def _state(pod: Manifest) -> str:
    status = pod.get("status", {})
    state = _container_state(status)
    for kind in ("terminated", "waiting"):
        if reason := (state.get(kind) or {}).get("reason"):
            return str(reason)
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _container_state(status: Manifest) -> Document:
    statuses: list[Document] = status.get("containerStatuses") or [{}]
    found: Document = statuses[0].get("state") or {}
    return found


def _result(message: str) -> Result | None:
    try:
        return Result.parse(message.encode(), "the termination message") if message else None
    except ContractError:
        return None


def _asked(cluster: Cluster, pods: Iterable[PodView]) -> Iterable[PodView]:
    """Pods with what they say now. The API server passes the question on, if the person may ask it to."""
    left = MOST_ASKED_PODS
    for pod in pods:
        if not pod.running or pod.shard is None or left == 0:
            yield pod
            continue
        left -= 1
        address = f"{PODS.address(cluster.namespace, f'{pod.name}:{HTTP_PORT}', 'proxy')}{PROGRESS_PATH}"
        try:
            said = json.dumps(cluster.read(address, "ask a pod", _PATIENCE)).encode()
            yield replace(pod, progress=Progress.receive(said, pod.name))
        except (ContractError, ValueError):
            left = 0  # what one pod cannot be asked, the others cannot be asked either
            yield pod


def _event(event: Manifest) -> EventView:
    moment = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    return EventView(
        at=datetime.fromisoformat(moment) if moment else None,
        type=str(event.get("type", "")),
        reason=str(event.get("reason", "")),
        message=str(event.get("message", "")),
        count=int(event.get("count") or 1),
    )


def _pod_json(pod: PodView) -> dict[str, Any]:
    return {
        "name": pod.name,
        "step": pod.step,
        "shard": pod.shard,
        "state": pod.state,
        "node": pod.node,
        "createdAt": pod.created_at.isoformat(),
        "exitCode": pod.exit_code,
        "result": None if pod.result is None else json.loads(pod.result.to_line()),
        "progress": None if pod.progress is None else json.loads(pod.progress.to_line()),
    }
