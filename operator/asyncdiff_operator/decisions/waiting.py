"""Why pods do not start, in the words of whoever holds them up: the kubelet, the scheduler, or an event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.observed import Question
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.situation import Situation

_ORDINARY: Final = ("", "PodInitializing", "ContainerCreating")
"""What a container waits for in every pod that starts."""
_PULL: Final = re.compile(r"^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull)$")
_MISSING: Final = re.compile(r'\b(serviceaccount|secret|configmap) "[^"]*" not found')
_OF_KIND: Final = {
    "serviceaccount": Reason.SERVICE_ACCOUNT_MISSING,
    "secret": Reason.SECRET_MISSING,
    "configmap": Reason.CONFIG_MAP_MISSING,
}
_BACK_OFF: Final = re.compile(r"^Back-off pulling image .*?: ErrImagePull: ", re.DOTALL)


def waiting_pods(pods: Iterable[ChildPod]) -> tuple[ChildPod, ...]:
    """Gives the pods that have not started and are to start."""
    return tuple(pod for pod in pods if pod.waiting)


def told_by_pods(pods: Iterable[ChildPod]) -> str:
    """Gives what the first pod that says why it waits has to say; empty if none does."""
    return next(_told(pods), "")


def missing_object(told: str) -> Reason | None:
    """Gives the reason for what Kubernetes says it has not found; None if it says no such thing."""
    found = _MISSING.search(told)
    return None if found is None else _OF_KIND[found[1]]


def told_by_events(situation: Situation, job: ChildJob, pods: Iterable[ChildPod]) -> str:
    """Gives the newest event of pods that wait, or where there are none of the Job; empty if there is none.

    Quota, Pod Security and volumes that cannot be mounted are told by events alone.
    """
    sentences: Mapping[str, Sequence[str]] = situation.answer(Question.POD_EVENTS) or {}
    waiting = [(pod.uid, f"Pod {pod.name}") for pod in pods]
    owners = waiting or [(job.manifest["metadata"]["uid"], f"Job {job.name}")]
    return next((f"{name}: {sentences[uid][-1]}" for uid, name in owners if sentences.get(uid)), "")


def _told(pods: Iterable[ChildPod]) -> Iterator[str]:
    for pod in pods:
        state = pod.waiting_for
        reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
        unscheduled = pod.condition("PodScheduled", "False")
        if _PULL.match(reason):
            # The kubelet tries and waits in turns and says the same in two ways: told as one, it is one message.
            yield f"Pod {pod.name}: its image cannot be pulled: {_BACK_OFF.sub('', message) or reason}"
        elif reason not in _ORDINARY:
            yield f"Pod {pod.name}: {reason}{f': {message}' if message else ''}"
        elif unscheduled is not None and unscheduled.get("message"):
            yield f"Pod {pod.name} finds no node: {unscheduled['message']}"
