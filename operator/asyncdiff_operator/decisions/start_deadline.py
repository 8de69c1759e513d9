"""The end of a job of which no pod starts: a failed pull or a full quota never fails a Job by itself."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.decisions.decision import Decision, ask
from asyncdiff_operator.decisions.ending import end_badly
from asyncdiff_operator.decisions.upkeep import stop
from asyncdiff_operator.decisions.waiting import told_by_events, told_by_pods, waiting_pods
from asyncdiff_operator.observed import Question
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.times import duration, seconds_between
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def seconds_to_start(situation: Situation, job: ChildJob) -> float | None:
    """Gives the seconds that are left to the first pod; None where the deadline does not run."""
    if situation.has_started or job.suspended or job.started_at is None:
        return None
    return situation.job.spec.run.start_deadline_seconds - seconds_between(job.started_at, situation.now)


def end_without_start(situation: Situation, job: ChildJob) -> Decision | None:
    """Ends a job past its start deadline, with the reason that its pods give."""
    left = seconds_to_start(situation, job)
    if left is None or left > 0:
        return None
    if questions := situation.unanswered(Question.CHILDREN, Question.POD_EVENTS):
        return ask(*questions)
    pods = waiting_pods(situation.shard_pods)
    limit = duration(situation.job.spec.run.start_deadline_seconds)
    told = told_by_pods(pods) or told_by_events(situation, job, pods)
    why = told or ("no pod was made, and no event says why" if not pods else "no pod says why")
    finding = Finding(Reason.START_DEADLINE_EXCEEDED, f"No pod started within {limit}: {why}")
    return end_badly(situation, finding, (stop(job, finding),))
