"""What hinders a job that runs, most serious first: the condition Degraded gives the first as its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.decisions.failure import failed_pods, is_ending, shards_given_up, told_at_end
from asyncdiff_operator.decisions.waiting import missing_object, told_by_events, told_by_pods, waiting_pods
from asyncdiff_operator.observed import Question, Report
from asyncdiff_operator.reading.indexes import capital, name_shards
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.reading.times import duration, seconds_between
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stand, no, yes
from asyncdiff_operator.status.findings import Finding


def degraded(troubles: Iterable[Finding]) -> Stand:
    """Gives the condition Degraded; its message tells of every trouble."""
    found = list(troubles)
    if not found:
        return no(Reason.HEALTHY)
    rest = [finding.message for finding in found[1:]]
    detail = found[0].detail if not rest else " ".join((found[0].message, "Also:", *rest))
    return yes(found[0].reason, detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Pods that have waited for long, or were not even made, and why."""

    detail: str = ""
    """A sentence; empty if nothing has waited for long."""
    reason: Reason = Reason.PODS_PENDING
    """What is missing, where the words of Kubernetes name it."""
    questions: frozenset[Question] = frozenset()
    look_again_after_seconds: float | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The same as a trouble; where nothing is missing it is one only to a job that has started."""
        return (Finding(self.reason, self.detail),) if self.detail else ()


def pods_that_wait(situation: Situation, job: ChildJob, pods: Iterable[ChildPod]) -> Waiting:
    """Finds pods that have waited longer than pods usually do, and asks for events where they do not say why."""
    wait = situation.defaults.pending_seconds
    known = tuple(pods)
    waiting = waiting_pods(known)
    since = [pod.created_at for pod in waiting]
    if not known and not situation.has_started:
        since = [job.started_at]  # quota and Pod Security refuse a pod before it exists
    ages = [seconds_between(moment, situation.now) for moment in since if moment is not None]
    if not any(age >= wait for age in ages):
        return Waiting(look_again_after_seconds=min((wait - age for age in ages), default=None))
    why = told_by_pods(waiting)
    if not why:
        if questions := situation.unanswered(Question.POD_EVENTS):
            return Waiting(questions=questions)
        why = told_by_events(situation, job, waiting)
    late = sum(age >= wait for age in ages)
    who = f"{late} pods have" if late > 1 else "A pod has" if waiting else "The first pod has"
    told = f": {why}" if why else ", and nothing says why"
    return Waiting(
        detail=f"{who} been awaited for more than {duration(wait)}{told}",
        reason=missing_object(why) or Reason.PODS_PENDING,
        look_again_after_seconds=situation.defaults.look_again_seconds,
    )


def failing_shards(situation: Situation, job: ChildJob) -> Iterator[Finding]:
    """Finds shards that were given up, and shards that are tried again."""
    failed = failed_pods(situation.shard_pods)
    given_up = shards_given_up(job, failed)
    if given_up:
        last = [pod for pod in failed if pod.shard in given_up][-1:]
        why = f": {told_at_end(last[0])}" if last else ""
        plural = "have" if len(given_up) > 1 else "has"
        yield Finding(Reason.SHARDS_FAILED, f"{capital(name_shards(given_up))} {plural} failed for good{why}")
    settled = job.completed | given_up
    again = [pod for pod in failed if pod.shard is not None and pod.shard not in settled]
    if again and not is_ending(job, failed):
        shards = {pod.shard for pod in again if pod.shard is not None}
        verb = "run" if len(shards) > 1 else "runs"
        detail = f"{capital(name_shards(shards))} {verb} again. {told_at_end(again[-1])}"
        yield Finding(Reason.SHARDS_RETRYING, detail)


def idle_pods(situation: Situation) -> Iterator[Finding]:
    """Finds pods that run and finish nothing, by the ages that they measured themselves."""
    idle = [
        (pod, seconds)
        for pod in situation.shard_pods
        if (report := situation.fresh_reports.get(pod.uid)) is not None
        and (seconds := _seconds_idle(situation, report)) is not None
    ]
    if idle:
        pod, seconds = max(idle, key=lambda each: each[1])
        many = f"{len(idle)} pods, {pod.name} among them, have" if len(idle) > 1 else f"Pod {pod.name} has"
        # Said in steps, so that the message stands while the time goes on.
        yield Finding(
            Reason.NO_PROGRESS, f"{many} finished no item for {duration(seconds // 900 * 900)} or more"
        )


def silent_pods(situation: Situation) -> Iterator[Finding]:
    """Finds that no running pod can be asked."""
    if situation.observed.reachable is False and any(pod.answers for pod in situation.shard_pods):
        yield Finding(Reason.PROGRESS_UNKNOWN)


def clamped_pods(situation: Situation, job: ChildJob) -> Iterator[Finding]:
    """Finds that more pods are asked for than there are shards."""
    pods = situation.job.spec.parallelism.pods
    if pods > job.shards:
        plural = "s are" if job.shards > 1 else " is"
        detail = f"{pods} pods are asked for and {job.shards} shard{plural} there: {job.shards} run at most"
        yield Finding(Reason.PODS_CLAMPED, detail)


def _seconds_idle(situation: Situation, report: Report) -> float | None:
    """How long a pod has finished nothing, if that is too long; its own age of it, and the report's."""
    said = report.progress
    if not said.running and said.phase in ("Waiting", "Draining", "Ended"):
        return None
    since = max(seconds_between(report.received_at, situation.now), 0.0)
    if said.seconds_since_item is None:
        idle, limit = said.uptime_seconds + since, situation.defaults.first_item_seconds
    else:
        usual = said.throughput.seconds_per_item if said.throughput is not None else None
        idle = said.seconds_since_item + since
        limit = max(situation.defaults.no_progress_seconds, 10 * usual.p95 if usual is not None else 0.0)
    return idle if idle >= limit else None
