"""How a pod's status is read: what runs, what waits for its start, what has ended."""

from __future__ import annotations

from typing import Any

import pytest
from asyncdiff_operator.reading.pods import ChildPod

NOW = "2026-03-01T12:00:00Z"


def pod(phase: str, state: dict[str, Any] | None, **metadata: Any) -> ChildPod:
    """A pod with one container in a state; None is a container that the kubelet has not met yet."""
    containers = [] if state is None else [{"name": "runtime", "state": state}]
    named = {"name": "posters-0-a", "uid": "1", "creationTimestamp": NOW, **metadata}
    return ChildPod({"metadata": named, "status": {"phase": phase, "containerStatuses": containers}})


@pytest.mark.parametrize(
    ("seen", "waits"),
    [
        (pod("Pending", None), True),
        (pod("Pending", {"waiting": {"reason": "ImagePullBackOff"}}), True),
        (pod("Running", {"waiting": {"reason": "CrashLoopBackOff"}}), True),
        (pod("Running", {"running": {"startedAt": NOW}}), False),
        (pod("Running", {"terminated": {"exitCode": 0, "startedAt": NOW}}), False),
        (pod("Running", {"terminated": {"exitCode": 137}}), False),
        (pod("Succeeded", {"terminated": {"exitCode": 0}}), False),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}, deletionTimestamp=NOW), False),
    ],
    ids=[
        "not met by the kubelet",
        "image missing",
        "between two starts",
        "running",
        "its container ended before the pod was said to have",
        "its container was killed before the pod was said to have ended",
        "ended",
        "asked to go",
    ],
)
def test_a_pod_waits_until_its_container_has_begun(seen: ChildPod, waits: bool) -> None:
    assert seen.waiting is waits


def test_a_container_that_ended_without_a_start_has_not_started() -> None:
    assert not pod("Failed", {"terminated": {"exitCode": 137, "startedAt": None}}).has_started
    assert pod("Failed", {"terminated": {"exitCode": 1, "startedAt": NOW}}).has_started
