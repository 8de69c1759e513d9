"""A job whose shards are being worked off: what is kept up, what is said, and who is asked."""

from __future__ import annotations

from typing import Final

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.children.config_map import config_map
from asyncdiff_operator.decisions.decision import Decision, ask, earliest
from asyncdiff_operator.decisions.drains import drained_too_often
from asyncdiff_operator.decisions.failure import is_ending
from asyncdiff_operator.decisions.start_deadline import end_without_start, seconds_to_start
from asyncdiff_operator.decisions.stuck_pods import force_deletions, seconds_to_force, stuck
from asyncdiff_operator.decisions.suspension import detail_of, kept_down, suspended_stand, who_suspends
from asyncdiff_operator.decisions.trouble import (
    Waiting,
    clamped_pods,
    degraded,
    failing_shards,
    idle_pods,
    pods_that_wait,
    silent_pods,
)
from asyncdiff_operator.decisions.upkeep import stop, upkeep
from asyncdiff_operator.intent import Create, Operation
from asyncdiff_operator.names import STOP_REASON_ANNOTATION
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stand, Stands, no, unknown, yes

PODS_HAVE_STARTED: Final = yes(Reason.PODS_RUNNING, "Pods of the job have started")
"""Started, in the same words until the job ends: nothing has to be written again."""


def work(situation: Situation, job: ChildJob) -> Decision:
    """Keeps the Job of the shards as the spec wants it, and says how it goes."""
    if (ended := end_without_start(situation, job)) is not None:
        return ended
    paused = who_suspends(situation, job, queued=situation.queued) is not None
    waiting = Waiting() if paused else pods_that_wait(situation, job, situation.shard_pods)
    if waiting.questions:
        return ask(*waiting.questions)
    pods = situation.shard_pods
    return Decision(
        operations=_operations(situation, job),
        stands=_stands(situation, job, waiting),
        look_again_after_seconds=earliest(
            None if paused else seconds_to_start(situation, job),
            waiting.look_again_after_seconds,
            seconds_to_force(situation, pods),
            situation.defaults.look_again_seconds if situation.fresh_reports else None,
        ),
        poll=_pods_to_ask(situation),
    )


def _operations(situation: Situation, job: ChildJob) -> tuple[Operation, ...]:
    forced = force_deletions(situation, situation.shard_pods)
    if job.annotation(STOP_REASON_ANNOTATION):
        return forced
    if (finding := drained_too_often(situation)) is not None:
        return (stop(job, finding), *forced)
    # Its content follows from the job and the number of shards, so one that was deleted is simply made again.
    lost = () if situation.observed.config is not None else (_config(situation, job),)
    return (*lost, *upkeep(situation, job), *forced)


def _config(situation: Situation, job: ChildJob) -> Create:
    return Create(manifest=config_map(situation.manifest, situation.job, job.shards, job.name))


def _stands(situation: Situation, job: ChildJob, waiting: Waiting) -> Stands:
    who = who_suspends(situation, job, queued=situation.queued)
    troubles = (
        *kept_down(who, job),
        *stuck(situation, situation.shard_pods),
        *failing_shards(situation, job),
        *idle_pods(situation),
        *(waiting.findings if situation.has_started or waiting.reason is not Reason.PODS_PENDING else ()),
        *silent_pods(situation),
        *clamped_pods(situation, job),
    )
    return {
        ConditionType.ACCEPTED: yes(Reason.VALID),
        ConditionType.STARTED: _started(situation, job, waiting, who),
        ConditionType.PROGRESSING: _progressing(situation, job, waiting)
        if who is None
        else _paused(situation, job, who),
        ConditionType.SUSPENDED: suspended_stand(who, job),
        ConditionType.DEGRADED: degraded(troubles),
        ConditionType.RECONCILING: no(Reason.UP_TO_DATE),
        ConditionType.STALLED: no(Reason.UP_TO_DATE),
    }


def _started(situation: Situation, job: ChildJob, waiting: Waiting, who: Reason | None) -> Stand:
    if situation.has_started:
        return PODS_HAVE_STARTED
    if who is Reason.SUSPENDED_BY_QUEUE:
        return no(Reason.WAITING_FOR_QUEUE)
    if who is Reason.SUSPENDED_BY_OTHERS:
        return no(who, detail_of(who, job))
    return no(Reason.WAITING_FOR_PODS, waiting.detail)


def _paused(situation: Situation, job: ChildJob, who: Reason) -> Stand:
    draining = any(pod.running for pod in situation.shard_pods)
    return yes(Reason.DRAINING) if draining else no(who, detail_of(who, job))


def _progressing(situation: Situation, job: ChildJob, waiting: Waiting) -> Stand:
    running = [pod for pod in situation.shard_pods if pod.running]
    if not running:
        return _between_pods(situation, job, waiting)
    if all(pod.to_be_gone_at is not None for pod in running):
        return yes(Reason.DRAINING)
    phases = {report.progress.phase for report in situation.fresh_reports.values()}
    for phase in (Reason.GENERATING, Reason.COMPILING, Reason.LOADING):
        if phase in phases:
            return yes(phase)
    if not phases and situation.observed.reachable is False and any(pod.answers for pod in running):
        return unknown(Reason.PROGRESS_UNKNOWN)
    return yes(Reason.PODS_RUNNING)


def _between_pods(situation: Situation, job: ChildJob, waiting: Waiting) -> Stand:
    """No pod runs: before the first, after the last, or while one takes another's place."""
    if not situation.has_started:
        return no(Reason.WAITING_FOR_PODS, waiting.detail)
    done = {pod.shard for pod in situation.shard_pods if pod.phase == "Succeeded"}
    if len(done | job.completed | job.failed) >= job.shards:
        return yes(Reason.FINISHING)
    if is_ending(job, situation.shard_pods):
        return yes(Reason.DRAINING)
    return no(Reason.PODS_REPLACED, waiting.detail)


def _pods_to_ask(situation: Situation) -> tuple[Manifest, ...]:
    if not situation.defaults.ask_for_progress:
        return ()
    return tuple(pod.manifest for pod in situation.shard_pods if pod.answers and pod.status.get("podIP"))
