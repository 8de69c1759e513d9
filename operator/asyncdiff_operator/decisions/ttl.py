"""The end of a job that has ended: deleted by run.ttlSecondsAfterFinished, and otherwise left as it is."""

from __future__ import annotations

from datetime import datetime

from asyncdiff_operator.intent import Delete, Plan
from asyncdiff_operator.observed import Manifest, Observed, Question
from asyncdiff_operator.reading.times import seconds_between
from asyncdiff_operator.status.memory import recall


def rest(observed: Observed, now: datetime) -> Plan:
    """Deletes the job when its time is over and its terminal status is known to be stored."""
    left = _seconds_left(observed.job, now)
    if left is None or left > 0:
        return Plan(look_again_after_seconds=left)
    if Question.STATUS not in observed.answers:
        return Plan(questions=frozenset({Question.STATUS}))
    stored: Manifest | None = observed.answers[Question.STATUS]
    if stored is None or stored["metadata"]["uid"] != observed.job["metadata"]["uid"]:
        return Plan()
    left = _seconds_left(stored, now)
    if left is None or left > 0 or "deletionTimestamp" in stored["metadata"]:
        return Plan(look_again_after_seconds=left if left is not None and left > 0 else None)
    return Plan(operations=(Delete(target=stored),))


def _seconds_left(job: Manifest, now: datetime) -> float | None:
    """Gives the seconds that a job of which it is stored that it ended may stay; None for ever."""
    memory = recall(job)
    limit = ((job.get("spec") or {}).get("run") or {}).get("ttlSecondsAfterFinished")
    ended_at = memory.status.completion_time
    if not memory.has_ended or ended_at is None or not isinstance(limit, int):
        return None
    return limit - seconds_between(ended_at, now)
