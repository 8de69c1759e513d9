"""What is left of a job when it has ended: its resource for a while, and then its output alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.formats.progress import GpuSeconds, Throughput
from asyncdiff_operator.intent import Delete
from asyncdiff_operator.observed import Observed, Question
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    Document,
    after,
    begun,
    config,
    counts,
    ended,
    finishing,
    job_result,
    observe,
    pod,
    result,
    settle,
    shards,
    stored,
)

JOB = stored()


def finished(
    last: Document | None, failure: tuple[str, str] | None = None, kind: str = "Complete", **conditions: str
) -> Observed:
    """A job whose finish step has ended."""
    outcome = ended("Failed", "FailedIndexes") if failure else ended("Complete")
    child = shards(JOB, completedIndexes="0-2" if failure else "0-3", conditions=outcome)
    pods = [pod(JOB, shard, "done", result=result(counts(done=1, total=1))) for shard in range(4)]
    children = (child, finishing(JOB, failure, conditions=ended(kind, **conditions)), *pods)
    return observe(begun(JOB), config(JOB), *children, *([last] if last else []))


GPU_HOUR = Throughput(gpu_seconds=GpuSeconds(generate=3600.0))
RETRIES = ("RetriesExhausted", "Shard 3 failed more often than run.retriesPerShard (3) allows.")

FINISHED = [
    (
        job_result(counts(done=4, total=4)),
        None,
        "Complete",
        "AllItemsDone",
        "4 of 4 items are in the output.",
    ),
    (
        job_result(counts(done=3, failed=1, total=4), "DoneWithFailedItems"),
        None,
        "Complete",
        "DoneWithFailedItems",
        "3 of 4 items are in the output, 1 failed.",
    ),
    (
        job_result(
            counts(done=2, rejected=2, total=4), "TooManyFailedItems", "2 were rejected, where 0 are allowed"
        ),
        None,
        "Failed",
        "TooManyFailedItems",
        "2 were rejected, where 0 are allowed.",
    ),
    (job_result(counts(done=4, total=4)), RETRIES, "Complete", "AllItemsDone", "4 of 4 items"),
    (job_result(counts(done=3), "ShardsFailed", "1 block"), RETRIES, "Failed", *RETRIES),
    (
        job_result(counts(done=3), "ShardsFailed", "1 of 4 blocks"),
        None,
        "Failed",
        "ShardsFailed",
        "1 of 4 blocks.",
    ),
    (job_result(counts(done=3), "Newfangled", "a word"), None, "Failed", "UnexpectedError", "a word."),
    (None, None, "Complete", "AllItemsDone", "Every item is in the output"),
    (None, RETRIES, "Failed", *RETRIES),
]


def complete(**run: Any) -> Observed:
    observed = finished(pod(JOB, None, "done", result=job_result(counts(done=4, total=4))))
    ended_job = settle(observed, after(hours=1))
    spec = {**ended_job.job["spec"], "run": {**ended_job.job["spec"]["run"], **run}}
    return replace(ended_job, job={**ended_job.job, "spec": spec})


def test_a_job_is_deleted_after_its_time_and_only_when_its_end_is_known_to_be_stored() -> None:
    observed = complete(ttlSecondsAfterFinished=600)
    early = plan(observed, DEFAULTS, after(hours=1, minutes=9))
    assert (early.operations, early.look_again_after_seconds) == ((), 60)
    late = after(hours=1, minutes=10)
    assert plan(observed, DEFAULTS, late).questions == {Question.STATUS}
    answered = replace(observed, answers={Question.STATUS: observed.job})
    assert plan(answered, DEFAULTS, late).operations == (Delete(target=observed.job),)


@pytest.mark.parametrize(
    "stored_now",
    [
        pytest.param(None, id="gone"),
        pytest.param(
            {**complete(ttlSecondsAfterFinished=600).job, "metadata": {**JOB["metadata"], "uid": "another"}},
            id="a namesake",
        ),
        pytest.param({**complete(ttlSecondsAfterFinished=600).job, "status": {}}, id="the status was lost"),
        pytest.param(complete(ttlSecondsAfterFinished=7200).job, id="its time was prolonged"),
        pytest.param(complete().job, id="it is to stay"),
    ],
)
def test_a_job_is_not_deleted_on_the_word_of_a_cache(stored_now: Document | None) -> None:
    observed = replace(complete(ttlSecondsAfterFinished=600), answers={Question.STATUS: stored_now})
    assert plan(observed, DEFAULTS, after(hours=1, minutes=10)).operations == ()
