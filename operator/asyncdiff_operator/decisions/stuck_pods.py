"""Pods that do not go: their node is most likely dead, and their shard waits for a word that never comes.

The Job controller starts no other pod for an index while one of it is there (podReplacementPolicy Failed), so
that no two write at once. Whether the node is really off only a person can know, or a deadline the person set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.decisions.decision import earliest
from asyncdiff_operator.intent import Delete
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.reading.times import duration, seconds_between
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def stuck(situation: Situation, pods: Iterable[ChildPod]) -> Iterator[Finding]:
    """Finds pods that are there though their grace period is over."""
    late = [pod for pod, seconds in _overdue(situation, pods) if seconds >= situation.defaults.stuck_seconds]
    if not late:
        return
    first = late[0]
    node = str((first.manifest.get("spec") or {}).get("nodeName") or "")
    where = f" on node {node}" if node else ""
    more = f", and {len(late) - 1} more" if len(late) > 1 else ""
    grace = duration(situation.defaults.stuck_seconds)
    yield Finding(
        Reason.POD_STUCK_TERMINATING,
        f"Pod {first.name}{where}{more}: asked to go, and still there more than {grace} past the grace period",
    )


def force_deletions(situation: Situation, pods: Iterable[ChildPod]) -> tuple[Delete, ...]:
    """Gives the removal of pods for which run.forceDeleteAfterSeconds is over.

    A pod that was given up counts as ended from then on, so its shard goes on, and is there until it is removed.
    """
    limit = situation.job.spec.run.force_delete_after_seconds
    if limit is None:
        return ()
    known = tuple(pods)
    due = [pod for pod, seconds in _overdue(situation, known) if seconds >= limit]
    due += [pod for pod in known if pod.given_up and not pod.removed]
    return tuple(Delete(target=pod.manifest, force=True) for pod in due)


def seconds_to_force(situation: Situation, pods: Iterable[ChildPod]) -> float | None:
    """Gives the seconds until a pod that is going counts as stuck, or is to be removed by force."""
    limit = situation.job.spec.run.force_delete_after_seconds
    waits = [
        threshold - seconds
        for _, seconds in _overdue(situation, pods)
        for threshold in (situation.defaults.stuck_seconds, limit)
        if threshold is not None and threshold > seconds
    ]
    return earliest(*waits)


def _overdue(situation: Situation, pods: Iterable[ChildPod]) -> Iterator[tuple[ChildPod, float]]:
    """Pods that are asked to go and have not ended, with the seconds since they should be gone."""
    for pod in pods:
        if pod.to_be_gone_at is not None and not pod.ended:
            yield pod, seconds_between(pod.to_be_gone_at, situation.now)
