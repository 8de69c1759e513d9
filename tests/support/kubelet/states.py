"""The status of a pod with one container, as a kubelet writes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]
Manifest = Mapping[str, Any]


def timestamp(moment: datetime) -> str:
    """As Kubernetes writes a time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The container has not started."""

    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The container runs."""

    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminated:
    """The container has ended."""

    code: int
    reason: str
    message: str
    since: datetime
    until: datetime


State = Waiting | Running | Terminated


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a pod runs."""

    node_address: str
    address: str


def never_started(now: datetime) -> Terminated:
    """What a kubelet says of a container that was asked to go before it started."""
    return Terminated(
        code=137,
        reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was terminated",
        since=now,
        until=now,
    )


def pod_status(pod: Manifest, place: Place, state: State, since: datetime) -> Document:
    """The part of the status that is the kubelet's, as a strategic merge patch.

    Args:
        pod: The pod as bound to its node.
        place: Where it runs.
        state: What its container does.
        since: When the kubelet saw the pod first.
    """
    started = not isinstance(state, Waiting)
    addresses: Document = {"hostIP": place.node_address, "hostIPs": [{"ip": place.node_address}]}
    if started:
        addresses |= {"podIP": place.address, "podIPs": [{"ip": place.address}]}
    return {
        "phase": _phase(state),
        "startTime": timestamp(since),
        "conditions": _conditions(state, since),
        "containerStatuses": [_container_status(pod, state)],
        **addresses,
    }


def digest_of(image: str) -> str:
    """The image by digest, as the container runtime reports it: the same one for the same name."""
    repository = image.partition("@")[0]
    head, colon, tag = repository.rpartition(":")
    name = head if colon and "/" not in tag else repository
    return f"{name}@sha256:{hashlib.sha256(image.encode()).hexdigest()}" if "@" not in image else image


def _phase(state: State) -> str:
    match state:
        case Waiting():
            return "Pending"
        case Running():
            return "Running"
        case Terminated(code=0):
            return "Succeeded"
        case _:
            return "Failed"


def _conditions(state: State, since: datetime) -> list[Document]:
    ready = isinstance(state, Running)
    ended = isinstance(state, Terminated)
    moment = timestamp(state.until if isinstance(state, Terminated) else since)
    why: Document = {}
    if ended:
        why = {"reason": "PodCompleted" if _phase(state) == "Succeeded" else "PodFailed"}
    elif not ready:
        why = {"reason": "ContainersNotReady", "message": "containers with unready status: [runtime]"}
    held = {
        "PodReadyToStartContainers": ready,
        "Initialized": True,
        "ContainersReady": ready,
        "Ready": ready,
    }
    return [
        {"type": kind, "status": str(value), "lastTransitionTime": moment, **({} if value else why)}
        for kind, value in held.items()
    ]


def _container_status(pod: Manifest, state: State) -> Document:
    container = pod["spec"]["containers"][0]
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "" if isinstance(state, Waiting) else digest_of(container["image"]),
        "restartCount": 0,
        "ready": isinstance(state, Running),
        "started": isinstance(state, Running),
        "state": _container_state(state),
        "lastState": {},
    }
    if not isinstance(state, Waiting):
        status["containerID"] = _container_id(pod)
    return status


def _container_id(pod: Manifest) -> str:
    return f"containerd://{hashlib.sha256(pod['metadata']['uid'].encode()).hexdigest()}"


def _container_state(state: State) -> Document:
    """Keys of the other states are taken away by name, since the patch merges."""
    match state:
        case Waiting(reason=reason, message=message):
            waiting = {"reason": reason, **({"message": message} if message else {})}
            return {"waiting": waiting, "running": None, "terminated": None}
        case Running(since=since):
            return {"waiting": None, "running": {"startedAt": timestamp(since)}, "terminated": None}
        case Terminated():
            terminated = {
                "exitCode": state.code,
                "reason": state.reason,
                "message": state.message,
                "startedAt": timestamp(state.since),
                "finishedAt": timestamp(state.until),
            }
            return {"waiting": None, "running": None, "terminated": terminated}
