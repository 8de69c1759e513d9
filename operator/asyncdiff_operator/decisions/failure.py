"""Why pods and Jobs failed, in the words of the pod that knows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.formats.exit_codes import ExitCode, FailurePolicyAction, codes_with, describe_exit
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.names import STOP_MESSAGE_ANNOTATION, STOP_REASON_ANNOTATION
from asyncdiff_operator.reading.indexes import capital, name_shards
from asyncdiff_operator.reading.jobs import ChildJob
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.reading.times import duration
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding

_OF_CODE: Final = {
    ExitCode.WRONG_JOB: Reason.INVALID_JOB,
    ExitCode.BAD_LINES: Reason.TOO_MANY_FAILED_ITEMS,
    ExitCode.MODEL_UNAVAILABLE: Reason.MODEL_UNAVAILABLE,
    ExitCode.OUTPUT_REFUSED: Reason.OUTPUT_REFUSED,
    ExitCode.DOES_NOT_FIT: Reason.DOES_NOT_FIT,
    ExitCode.OUTAGE: Reason.OUTAGE,
    ExitCode.DRAINED: Reason.DRAINED,
}
"""Reason of a pod that left no other word than its exit code."""
_EXIT_CODE: Final = re.compile(r"exit code (\d+)")


def is_drained(pod: ChildPod) -> bool:
    """Whether a pod ended because it was asked to: no failure, and no retry is charged."""
    return pod.disrupted or pod.exit_code == ExitCode.DRAINED


def failed_pods(pods: Iterable[ChildPod]) -> tuple[ChildPod, ...]:
    """Gives the pods that failed by themselves, the last that was made last."""
    failed = (pod for pod in pods if pod.phase == "Failed" and not is_drained(pod))
    return tuple(
        sorted(failed, key=lambda pod: (pod.created_at or datetime.min.replace(tzinfo=UTC), pod.name))
    )


def shards_given_up(job: ChildJob, failed: Iterable[ChildPod]) -> frozenset[int]:
    """Gives the shards that get no other pod: those that their Job names, and those that it is about to name."""
    codes = codes_with(FailurePolicyAction.FAIL_INDEX)
    final = (
        pod.shard
        for pod in failed
        if pod.exit_code in codes or (job.retries is not None and pod.failures >= job.retries)
    )
    return job.failed | ({shard for shard in final if shard is not None} - job.completed)


def is_ending(job: ChildJob, pods: Iterable[ChildPod]) -> bool:
    """Whether no shard gets another pod: the Job's end is decided, or a pod has failed in a way that decides it."""
    codes = codes_with(FailurePolicyAction.FAIL_JOB)
    return job.ending or any(pod.exit_code in codes for pod in failed_pods(pods))


def reason_of_end(pod: ChildPod) -> Reason:
    """Gives the reason of a pod's failure: its own word, else what its exit code stands for."""
    word = pod.result.reason if pod.result is not None and pod.result.final else ""
    if (reason := failing_reason(word)) is not None:
        return reason
    return _reason_of_code(pod.exit_code)


def failing_reason(word: str) -> Reason | None:
    """Reads a reason of a result; None for one that is no failure, and for one of a newer version."""
    if word not in set(Reason):
        return None
    reason = Reason(word)
    return reason if {ConditionType.FAILED, ConditionType.DEGRADED} & set(REASONS[reason].types) else None


def told_at_end(pod: ChildPod) -> str:
    """Says why a pod failed, naming it."""
    where = f"Pod {pod.name}" if pod.shard is None else f"Shard {pod.shard} (pod {pod.name})"
    if pod.result is not None and pod.result.final and pod.result.message:
        return f"{where}: {pod.result.message}"
    known = pod.end_reason if pod.end_reason not in ("", "Error", "Completed") else ""
    said = [pod.end_message, known, describe_exit(pod.exit_code) if pod.exit_code is not None else ""]
    return f"{where}: {next(filter(None, said), 'it failed, and nobody saw how')}"


def failure_of_shards(situation: Situation, job: ChildJob) -> Finding | None:
    """Finds why the Job of the shards failed; None if it did not."""
    condition = job.failure
    if condition is None:
        return None
    if stopped := job.annotation(STOP_REASON_ANNOTATION):
        reason = failing_reason(stopped) or Reason.UNEXPECTED_ERROR
        return Finding(reason, job.annotation(STOP_MESSAGE_ANNOTATION))
    word, message = str(condition.get("reason", "")), str(condition.get("message", ""))
    if word == "PodFailurePolicy":
        return _by_policy(situation, message)
    if word == "DeadlineExceeded":
        limit = situation.job.spec.run.active_deadline_seconds
        ran = f"The job ran for {duration(limit)}, as long as it may" if limit is not None else message
        return Finding(Reason.ACTIVE_DEADLINE_EXCEEDED, ran)
    if job.failed:
        return _by_shards(situation, job)
    return Finding(Reason.UNEXPECTED_ERROR, f"Kubernetes ended the Job {job.name}: {word}: {message}")


def _by_policy(situation: Situation, message: str) -> Finding:
    """The pod whose exit code ended the whole Job; that code at least, if the pod is gone."""
    codes = codes_with(FailurePolicyAction.FAIL_JOB)
    culprit = next(
        (pod for pod in situation.shard_pods if pod.exit_code in codes and not pod.disrupted), None
    )
    if culprit is not None:
        return Finding(reason_of_end(culprit), told_at_end(culprit))
    found = _EXIT_CODE.search(message)
    code = int(found[1]) if found else None
    return Finding(_reason_of_code(code), describe_exit(code) if code is not None else message)


def _by_shards(situation: Situation, job: ChildJob) -> Finding:
    """Shards that were given up: for bad lines if that is all, else for want of retries."""
    pods = failed_pods(pod for pod in situation.shard_pods if pod.shard in job.failed)
    named = name_shards(job.failed)
    final = [pod for pod in pods if pod.exit_code in codes_with(FailurePolicyAction.FAIL_INDEX)]
    if final and {pod.shard for pod in final} == job.failed:
        return Finding(reason_of_end(final[0]), told_at_end(final[0]))
    last = f": {told_at_end((*pods[-1:], *final)[0])}" if pods else ""
    retries = situation.job.spec.run.retries_per_shard
    detail = f"{capital(named)} failed more often than run.retriesPerShard ({retries}) allows{last}"
    return Finding(Reason.RETRIES_EXHAUSTED, detail)


def _reason_of_code(code: int | None) -> Reason:
    known = ExitCode(code) if code in set(ExitCode) else None
    return _OF_CODE.get(known, Reason.UNEXPECTED_ERROR) if known is not None else Reason.UNEXPECTED_ERROR
