"""The few fields of a Job that change while it runs: how many pods at once, whether any, and for how long.

What someone else changes is put back, but for what is a queue's and for a suspension that comes back each time.
The template never changes.
"""

from __future__ import annotations

import math
from typing import Any

from asyncdiff_operator.decisions.suspension import resume_notes, who_suspends
from asyncdiff_operator.intent import Patch
from asyncdiff_operator.names import (
    ACTIVE_SECONDS_ANNOTATION,
    STOP_MESSAGE_ANNOTATION,
    STOP_REASON_ANNOTATION,
)
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.numbers import read_number
from asyncdiff_operator.reading.times import seconds_between
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding, sentence


def upkeep(situation: Situation, job: ChildJob) -> tuple[Patch, ...]:
    """Gives the patch that makes the Job of the shards what the spec asks for now."""
    changes: dict[str, Any] = {}
    who = who_suspends(situation, job, queued=situation.queued)
    suspend = who is not None
    used = _seconds_used(situation, job, suspend=suspend)
    if suspend != job.suspended:
        changes["suspend"] = suspend
    pods = min(situation.job.spec.parallelism.pods, job.shards)
    if not situation.queued and job.spec.get("parallelism") != pods:
        changes["parallelism"] = pods
    limit = situation.job.spec.run.active_deadline_seconds
    left = None if limit is None else max(limit - used, 1)
    if job.spec.get("activeDeadlineSeconds") != left:
        changes["activeDeadlineSeconds"] = left
    notes = {
        **resume_notes(who, job),
        **({ACTIVE_SECONDS_ANNOTATION: str(used)} if used != _noted(job) else {}),
    }
    parts = {"metadata": {"annotations": notes} if notes else {}, "spec": changes}
    wanted = {name: part for name, part in parts.items() if part}
    return (Patch(target=job.manifest, changes=wanted),) if wanted else ()


def stop(job: ChildJob, finding: Finding) -> Patch:
    """Ends a Job for good: past a deadline of a second, its controller asks the pods to go and fails it.

    Suspending it would do for as long as nobody resumes it, as a queue does. The reason is written in the same
    patch, so an operator that is killed after it still knows why.
    """
    noted = {STOP_REASON_ANNOTATION: str(finding.reason), STOP_MESSAGE_ANNOTATION: sentence(finding.detail)}
    return Patch(
        target=job.manifest,
        changes={"metadata": {"annotations": noted}, "spec": {"activeDeadlineSeconds": 1}},
    )


def _seconds_used(situation: Situation, job: ChildJob, *, suspend: bool) -> int:
    """How long the Job had run before it was last suspended, this suspension included."""
    used = _noted(job)
    if suspend and not job.suspended and not situation.queued and job.started_at is not None:
        used += math.ceil(max(seconds_between(job.started_at, situation.now), 0.0))
    return used


def _noted(job: ChildJob) -> int:
    return read_number(job.annotation(ACTIVE_SECONDS_ANNOTATION)) or 0
