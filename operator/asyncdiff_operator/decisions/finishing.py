"""From the end of the shards to the end of the job: the finish step, and what its word makes of it."""

from __future__ import annotations

from typing import Any, Final

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.result import Result
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.children.config_map import config_map, is_up_to_date
from asyncdiff_operator.children.finish_job import finish_job
from asyncdiff_operator.decisions.decision import Decision, ask, earliest
from asyncdiff_operator.decisions.ending import end_badly, end_well
from asyncdiff_operator.decisions.failure import (
    failed_pods,
    failing_reason,
    failure_of_shards,
    told_at_end,
)
from asyncdiff_operator.decisions.stuck_pods import force_deletions, seconds_to_force, stuck
from asyncdiff_operator.decisions.suspension import (
    detail_of,
    kept_down,
    resume_notes,
    suspended_stand,
    who_suspends,
)
from asyncdiff_operator.decisions.trouble import degraded, pods_that_wait
from asyncdiff_operator.decisions.working import PODS_HAVE_STARTED
from asyncdiff_operator.intent import Create, Patch
from asyncdiff_operator.names import STOP_MESSAGE_ANNOTATION, STOP_REASON_ANNOTATION, finish_name
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stands, no, yes
from asyncdiff_operator.status.findings import Finding, sentence
from asyncdiff_operator.status.totals import totals

BEFORE_WORK: Final = {
    Reason.ANOTHER_JOB,
    Reason.OUTPUT_EXISTS,
    Reason.WORKLIST_CHANGED,
    Reason.WORKLIST_UNREADABLE,
    Reason.UNSUPPORTED_VERSION,
    Reason.DAMAGED_RECORD,
    Reason.OUTPUT_REFUSED,
    Reason.CONDITIONAL_WRITES_UNSUPPORTED,
    Reason.INVALID_JOB,
    Reason.UNKNOWN_OPTION,
    Reason.SECRET_MISSING,
    Reason.MODEL_UNAVAILABLE,
    Reason.DOES_NOT_FIT,
    Reason.START_DEADLINE_EXCEEDED,
}
"""Failures that pods meet before they record anything. If none ever has, the prefix holds nothing of this job, and
perhaps another's manifest: nothing is to be put there."""


def finish(situation: Situation) -> Decision:
    """Runs the finish step where it has something to merge, and ends the job by its word."""
    job = situation.finish_job
    if job is None:
        return _begin(situation)
    failure = _recorded(job)
    if job.succeeded:
        return _conclude(situation, failure, result_of_finish(situation))
    if job.failure is not None:
        return end_badly(situation, _unfinished(situation, job, failure))
    return _work(situation, job)


def result_of_finish(situation: Situation) -> Result | None:
    """Gives the last word of the pod that succeeded; None if it is lost."""
    done = (pod.result for pod in situation.finish_pods if pod.phase == "Succeeded")
    return next((result for result in done if result is not None and result.scope == "Job"), None)


def _begin(situation: Situation) -> Decision:
    shards = situation.shards_job
    assert shards is not None, "whoever calls has looked"
    failure = failure_of_shards(situation, shards)
    if failure is not None and not _worth_merging(situation, failure):
        return end_badly(situation, failure)
    if situation.job.spec.run.suspend:
        return Decision(stands=_paused(Reason.SUSPENDED_BY_USER, shards))
    orders, config = _orders(situation, shards)
    manifest = finish_job(
        situation.manifest,
        situation.job,
        situation.defaults,
        shards.image,
        failure.found if failure is not None else "",
        config,
    )
    return Decision(
        operations=(*orders, Create(manifest=_recording(manifest, failure))),
        stands=_finishing(situation, ()),
        look_again_after_seconds=situation.defaults.look_again_seconds,
    )


def _orders(situation: Situation, shards: ChildJob) -> tuple[tuple[Create, ...], str]:
    """The ConfigMap that the finish step reads: that of the shards, or one of its own if it is gone or outdated."""
    config = situation.observed.config
    if config is not None and is_up_to_date(situation.job, config):
        return (), shards.name
    name = finish_name(situation.manifest)
    own = config_map(situation.manifest, situation.job, shards.shards, name)
    return (Create(manifest=own),), name


def _worth_merging(situation: Situation, failure: Finding) -> bool:
    """Whether this job may have recorded something under its prefix."""
    if failure.reason not in BEFORE_WORK:
        return True
    counts = totals(situation).items
    made = (counts.done or 0) + (counts.failed or 0) + (counts.rejected or 0)
    shards = situation.shards_job
    return bool(made or situation.memory.accounted_shards or (shards is not None and shards.completed))


def _recording(manifest: Manifest, failure: Finding | None) -> Manifest:
    """Notes on the Job why the shards failed: their pods may be gone by the time the job ends."""
    if failure is None:
        return manifest
    noted = {STOP_REASON_ANNOTATION: str(failure.reason), STOP_MESSAGE_ANNOTATION: failure.found}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": noted}}


def _recorded(job: ChildJob) -> Finding | None:
    word = job.annotation(STOP_REASON_ANNOTATION)
    if not word:
        return None
    return Finding(failing_reason(word) or Reason.UNEXPECTED_ERROR, job.annotation(STOP_MESSAGE_ANNOTATION))


def _work(situation: Situation, job: ChildJob) -> Decision:
    """The finish step is under way: as with the shards, pods may wait, or hang on a dead node."""
    who = who_suspends(situation, job, queued=job.queued)
    changes = _suspension(who, job)
    if who is not None:
        return Decision(operations=changes, stands=_paused(who, job))
    if job.going:
        return Decision(stands=_finishing(situation, ()))  # made again once it is gone
    waiting = pods_that_wait(situation, job, situation.finish_pods)
    if waiting.questions:
        return ask(*waiting.questions)
    troubles = (*stuck(situation, situation.finish_pods), *waiting.findings)
    pods = (*situation.finish_pods, *situation.shard_pods)
    return Decision(
        operations=(*changes, *force_deletions(situation, pods)),
        stands=_finishing(situation, troubles),
        look_again_after_seconds=earliest(
            waiting.look_again_after_seconds, seconds_to_force(situation, situation.finish_pods)
        ),
    )


def _suspension(who: Reason | None, job: ChildJob) -> tuple[Patch, ...]:
    """Suspends or resumes the finish step with its job."""
    suspend, notes = who is not None, resume_notes(who, job)
    changes: dict[str, Any] = {"metadata": {"annotations": notes}} if notes else {}
    if suspend != job.suspended:
        changes["spec"] = {"suspend": suspend}
    return (Patch(target=job.manifest, changes=changes),) if changes else ()


def _conclude(situation: Situation, failure: Finding | None, result: Result | None) -> Decision:
    """The ledger has the last word: a shard may fail after its last item was recorded."""
    if result is None:
        return end_badly(situation, failure) if failure is not None else _end_by_counts(situation)
    if result.reason in (Reason.ALL_ITEMS_DONE, Reason.DONE_WITH_FAILED_ITEMS):
        return end_well(situation, Finding(Reason(result.reason), _summary(result)))
    if failure is not None:
        return end_badly(situation, failure)
    reason = failing_reason(result.reason) or Reason.UNEXPECTED_ERROR
    return end_badly(situation, Finding(reason, result.message or _summary(result)))


def _end_by_counts(situation: Situation) -> Decision:
    """All shards and the finish step ended well, and its word is lost: what the shards have counted must do."""
    counts = totals(situation).items
    lost = (counts.failed or 0) + (counts.rejected or 0)
    allowed = situation.job.spec.acceptance.max_failed_items
    if lost > allowed:
        detail = f"{lost} items failed or were rejected, where {allowed} are allowed"
        return end_badly(situation, Finding(Reason.TOO_MANY_FAILED_ITEMS, detail))
    return end_well(situation, Finding(Reason.DONE_WITH_FAILED_ITEMS if lost else Reason.ALL_ITEMS_DONE))


def _unfinished(situation: Situation, job: ChildJob, failure: Finding | None) -> Finding:
    """The finish step failed; what ended the shards weighs more, if anything did."""
    pods = failed_pods(situation.finish_pods)
    condition = job.failure or {}
    said = str(condition.get("message") or condition.get("reason") or "nothing says why")
    why = told_at_end(pods[-1]) if pods else said
    if failure is None:
        return Finding(Reason.FINISH_FAILED, f"The finish step failed: {why}")
    return Finding(failure.reason, f"{sentence(failure.detail)} The finish step failed too: {why}")


def _summary(result: Result) -> str:
    items = result.items
    total = f" of {items.total}" if items.total is not None else ""
    lost = [
        f"{count} {word}" for count, word in ((items.failed, "failed"), (items.rejected, "rejected")) if count
    ]
    return f"{items.done}{total} items are in the output{''.join(f', {part}' for part in lost)}"


def _finishing(situation: Situation, troubles: tuple[Finding, ...]) -> Stands:
    return {
        ConditionType.ACCEPTED: yes(Reason.VALID),
        ConditionType.STARTED: PODS_HAVE_STARTED if situation.has_started else no(Reason.WAITING_FOR_PODS),
        ConditionType.PROGRESSING: yes(Reason.FINISHING),
        ConditionType.SUSPENDED: no(Reason.NOT_SUSPENDED),
        ConditionType.DEGRADED: degraded(troubles),
        ConditionType.RECONCILING: no(Reason.UP_TO_DATE),
        ConditionType.STALLED: no(Reason.UP_TO_DATE),
    }


def _paused(who: Reason, job: ChildJob) -> Stands:
    return {
        ConditionType.PROGRESSING: no(who, detail_of(who, job)),
        ConditionType.SUSPENDED: suspended_stand(who, job),
        ConditionType.DEGRADED: degraded(kept_down(who, job)),
    }
