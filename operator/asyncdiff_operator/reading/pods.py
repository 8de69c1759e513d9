"""A pod of ours as the operator sees it: what it does, how it ended, and what it left as its last word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from asyncdiff_api.formats.container import CONTAINER
from asyncdiff_api.formats.errors import ContractError
from asyncdiff_api.formats.result import Result

from asyncdiff_operator.children.failure_policy import DISRUPTION
from asyncdiff_operator.names import (
    DRAINS_ANNOTATION,
    FAILURES_ANNOTATION,
    GIVEN_UP,
    INDEX_ANNOTATION,
    STEP_LABEL,
    Step,
)
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.numbers import read_number
from asyncdiff_operator.reading.times import read_time

START_ERROR: Final = "StartError"
"""The kubelet's word for a container that the node's container runtime could not start."""
_STARTING: Final = "unable to start container process: "
"""What runc puts before the cause, behind the words of all who asked it."""


def is_settled(manifest: Manifest, accounted: frozenset[int]) -> bool:
    """Whether a pod has succeeded with an accounted shard: most pods of a large job, told before they are read."""
    if (manifest.get("status") or {}).get("phase") != "Succeeded":
        return False
    return read_number((manifest["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION)) in accounted


@dataclass(frozen=True)
class ChildPod:
    """A pod of one of a job's Jobs."""

    manifest: Manifest

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._metadata["name"])

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self._metadata["uid"])

    @property
    def step(self) -> str:
        """Which step it belongs to."""
        return str((self._metadata.get("labels") or {}).get(STEP_LABEL, Step.SHARDS))

    @property
    def shard(self) -> int | None:
        """Number of its shard; None if it has none, or says nonsense."""
        return read_number((self._metadata.get("annotations") or {}).get(INDEX_ANNOTATION))

    @property
    def drains(self) -> int:
        """How many of the shard's pods before this one ended without a retry's being charged."""
        return read_number((self._metadata.get("annotations") or {}).get(DRAINS_ANNOTATION)) or 0

    @property
    def failures(self) -> int:
        """How many of the shard's retries had been charged before this pod."""
        return read_number((self._metadata.get("annotations") or {}).get(FAILURES_ANNOTATION)) or 0

    @property
    def created_at(self) -> datetime | None:
        """When the API server stored it."""
        return read_time(self._metadata.get("creationTimestamp"))

    @property
    def to_be_gone_at(self) -> datetime | None:
        """For a pod that is deleted: when its grace period ends."""
        return read_time(self._metadata.get("deletionTimestamp"))

    @property
    def asked_to_go_at(self) -> datetime | None:
        """For a pod that is deleted: when that was."""
        end = self.to_be_gone_at
        grace = int(self._metadata.get("deletionGracePeriodSeconds") or 0)
        return None if end is None else end - timedelta(seconds=grace)

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self.status.get("phase", "Pending"))

    @property
    def ended(self) -> bool:
        """Whether it will do no more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return not self.ended and "running" in self._state

    @property
    def answers(self) -> bool:
        """Whether its container has passed its startup probe, and so serves its pages."""
        return self.running and self._container.get("started") is not False

    @property
    def waiting(self) -> bool:
        """Whether it waits for its start; one that is deleted waits for its end."""
        # A container ends a moment before its pod is said to have ended.
        begun = not self._state.keys().isdisjoint(("running", "terminated"))
        return not self.ended and not begun and self.to_be_gone_at is None

    @property
    def has_started(self) -> bool:
        """Whether its container runs or has run."""
        # A pod that was asked to go before its start has a container that ended without having started.
        return "running" in self._state or bool(self._terminated.get("startedAt"))

    @property
    def disrupted(self) -> bool:
        """Whether Kubernetes took it away: an eviction, a preemption, a node that went."""
        return self.condition(DISRUPTION, "True") is not None

    @property
    def given_up(self) -> bool:
        """Whether the operator has marked it as failed, in order to remove it."""
        disruption = self.condition(DISRUPTION, "True") or {}
        return self.phase == "Failed" and disruption.get("reason") == GIVEN_UP

    @property
    def removed(self) -> bool:
        """Whether it was removed without its kubelet's word, and is there for its finalizers alone."""
        return self._metadata.get("deletionGracePeriodSeconds") == 0

    @property
    def exit_code(self) -> int | None:
        """How its container ended; None if it has not, or nobody saw it."""
        code = self._terminated.get("exitCode")
        return code if isinstance(code, int) else None

    @property
    def end_reason(self) -> str:
        """Kubernetes' word for its end, such as OOMKilled or Evicted."""
        return str(self._terminated.get("reason") or self.status.get("reason") or "")

    @property
    def end_message(self) -> str:
        """What Kubernetes has to say of its end; empty for most."""
        if self.end_reason == START_ERROR:
            said = str(self._terminated.get("message") or START_ERROR)
            return f"its container could not be started: {said.rpartition(_STARTING)[2].removesuffix(': unknown')}"
        return str(self.status.get("message") or "")

    @cached_property
    def result(self) -> Result | None:
        """Its last word; None if there is none, or none that can be read."""
        message = self._terminated.get("message")
        if not isinstance(message, str) or not message:
            return None
        try:
            return Result.parse(message, f"the termination message of pod {self.name}")
        except ContractError:
            return None

    @property
    def waiting_for(self) -> Manifest:
        """The container's state while it waits: reason and message of the kubelet."""
        return dict(self._state.get("waiting") or {})

    @property
    def image_id(self) -> str:
        """The image as the node resolved it; empty if it has not yet."""
        return str(self._container.get("imageID") or "")

    def condition(self, kind: str, status: str) -> Manifest | None:
        """Gives a condition that has a certain status."""
        for condition in self.status.get("conditions") or ():
            if condition["type"] == kind and condition["status"] == status:
                found: Manifest = condition
                return found
        return None

    @property
    def status(self) -> dict[str, Any]:
        """The pod's status as it is."""
        return dict(self.manifest.get("status") or {})

    @property
    def _metadata(self) -> Manifest:
        metadata: Manifest = self.manifest["metadata"]
        return metadata

    @property
    def _container(self) -> dict[str, Any]:
        for container in self.status.get("containerStatuses") or ():
            if container.get("name") == CONTAINER:
                return dict(container)
        return {}

    @property
    def _state(self) -> dict[str, Any]:
        return dict(self._container.get("state") or {})

    @property
    def _terminated(self) -> dict[str, Any]:
        return dict(self._state.get("terminated") or {})
