"""Who keeps a Job from having pods: a queue, a person, or someone else, with whom the operator does not fight for long.

A Job with a queue's label is the queue's: whether it is suspended is never written. Any other goes by run.suspend,
but something may suspend it each time that it is resumed, as Kueue does where it manages Jobs without a queue too.
How often it was resumed is noted on the Job in the patch that resumes it, and begins anew with a person's suspension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.names import RESUMES_ANNOTATION
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stand, no, yes
from asyncdiff_operator.status.findings import Finding

MOST_RESUMES: Final = 3
"""Patches that resume a Job, since a person last suspended it."""


def who_suspends(situation: Situation, job: ChildJob, *, queued: bool) -> Reason | None:
    """Gives who wants the Job to have no pods; None if it may have some.

    Args:
        situation: What is known of the AsyncDiffJob.
        job: One of its Jobs.
        queued: Whether a queue decides about this one.
    """
    if queued:
        return Reason.SUSPENDED_BY_QUEUE if job.suspended else None
    if situation.job.spec.run.suspend:
        return Reason.SUSPENDED_BY_USER
    kept_down = job.suspended and job.resumes >= MOST_RESUMES
    return Reason.SUSPENDED_BY_OTHERS if kept_down else None


def resume_notes(who: Reason | None, job: ChildJob) -> Mapping[str, str | None]:
    """Gives the annotations that a Job needs where `who` suspends it: each resumption is counted."""
    if who is None and job.suspended:
        return {RESUMES_ANNOTATION: str(job.resumes + 1)}
    return {RESUMES_ANNOTATION: None} if who is Reason.SUSPENDED_BY_USER and job.resumes else {}


def suspended_stand(who: Reason | None, job: ChildJob) -> Stand:
    """Gives the condition Suspended."""
    return yes(who, detail_of(who, job)) if who is not None else no(Reason.NOT_SUSPENDED)


def kept_down(who: Reason | None, job: ChildJob) -> tuple[Finding, ...]:
    """Gives the trouble that someone else's suspension is; a queue's and a person's are none."""
    return (Finding(who, detail_of(who, job)),) if who is Reason.SUSPENDED_BY_OTHERS else ()


def detail_of(who: Reason, job: ChildJob) -> str:
    """Says what was found; empty where the reason says it all."""
    if who is not Reason.SUSPENDED_BY_OTHERS:
        return ""
    return f"The Job {job.name} was resumed {job.resumes} times, and something suspended it each time"
