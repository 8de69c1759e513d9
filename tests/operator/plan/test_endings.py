"""How jobs end: by which reason, in whose words, with or without the finish step, and what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import REASONS
from asyncdiff_api.formats.progress import GpuSeconds, Throughput
from asyncdiff_api.status import ConditionType, Phase
from asyncdiff_operator.intent import Create, Patch
from asyncdiff_operator.observed import Observed, Question
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    Document,
    after,
    begun,
    changed,
    conditions_of,
    config,
    counts,
    ended,
    finishing,
    job_result,
    look,
    message_of,
    observe,
    pod,
    result,
    settle,
    shards,
    stored,
)

JOB = stored()
POLICY = (
    "Container runtime for pod team/posters-0-a failed with exit code {code} matching FailJob rule at index 1"
)


def failed(
    *pods: Document, reason: str = "PodFailurePolicy", message: str = "", job: Document = JOB, **status: Any
) -> Observed:
    """A job whose shards have ended badly."""
    child = shards(job, conditions=ended("Failed", reason, message), **status)
    return observe(begun(job), config(job), child, *pods)


def dead(
    shard: int = 0, code: int = 1, reason: str = "", message: str = "", made: int = 0, **changes: Any
) -> Document:
    said = {"result": result(counts(done=made), reason, message)} if reason else {}
    return pod(JOB, shard, "failed", code=code, **(said | changes))


SHARDS_FAILED = [
    pytest.param(
        failed(dead(code=66, reason="ModelUnavailable", message="no such revision: v2")),
        "ModelUnavailable",
        "Shard 0 (pod posters-0-a): no such revision: v2.",
        False,
        id="no model",
    ),
    pytest.param(
        failed(dead(code=71, reason="DoesNotFit", message="41 GiB needed, 24 had; 4 stages would fit")),
        "DoesNotFit",
        "41 GiB needed, 24 had; 4 stages would fit.",
        False,
        id="too large",
    ),
    pytest.param(
        failed(dead(code=71)), "DoesNotFit", "does not fit the GPUs", False, id="too large, message lost"
    ),
    pytest.param(
        failed(message=POLICY.format(code=69)),
        "OutputRefused",
        "The output may not be written",
        False,
        id="no output, pod gone",
    ),
    pytest.param(
        failed(dead(code=64, reason="AnotherJob", message="spec.generate.steps is 20 there and 50 here")),
        "AnotherJob",
        "spec.generate.steps is 20 there and 50 here",
        False,
        id="another job's prefix",
    ),
    pytest.param(
        failed(
            dead(code=64, reason="UnknownOption", message="line 7: no option stepz"), completedIndexes="1"
        ),
        "UnknownOption",
        "line 7: no option stepz",
        True,
        id="a wrong line after others had been made",
    ),
    pytest.param(
        failed(dead(code=64, reason="InvalidJob", message="line 7", made=3)),
        "InvalidJob",
        "line 7",
        True,
        id="a wrong line after items of its own",
    ),
    pytest.param(
        failed(
            dead(code=65, reason="TooManyFailedItems", message="3 items failed"),
            reason="FailedIndexes",
            failedIndexes="0",
            completedIndexes="1-3",
        ),
        "TooManyFailedItems",
        "Shard 0 (pod posters-0-a): 3 items failed.",
        True,
        id="bad items",
    ),
    pytest.param(
        failed(
            dead(code=137, why="OOMKilled"), reason="FailedIndexes", failedIndexes="0", completedIndexes="1-3"
        ),
        "RetriesExhausted",
        "Shard 0 failed more often than run.retriesPerShard (3) allows: Shard 0 (pod posters-0-a): OOMKilled.",
        True,
        id="out of retries",
    ),
    pytest.param(
        failed(
            dead(
                code=128,
                why="StartError",
                result="OCI runtime create failed: runc create failed: unable to start container process: "
                'exec: "python": permission denied: unknown',
            ),
            reason="FailedIndexes",
            failedIndexes="0",
        ),
        "RetriesExhausted",
        "Shard 0 failed more often than run.retriesPerShard (3) allows: Shard 0 (pod posters-0-a): its container could "
        'not be started: exec: "python": permission denied.',
        True,
        id="another image than ours",
    ),
    pytest.param(
        failed(
            dead(0, 65, "TooManyFailedItems", "3 items failed"),
            dead(1, 70, "RankHung", "rank 2 hung at evaluation 7"),
            reason="FailedIndexes",
            failedIndexes="0-1",
            completedIndexes="2-3",
        ),
        "RetriesExhausted",
        "Shards 0-1 failed more often than run.retriesPerShard (3) allows: Shard 1 (pod posters-1-a): rank 2 hung at "
        "evaluation 7.",
        True,
        id="bad items here, a hung rank there",
    ),
    pytest.param(
        failed(reason="FailedIndexes", failedIndexes="0,2"),
        "RetriesExhausted",
        "Shards 0, 2 failed more often than run.retriesPerShard (3) allows.",
        True,
        id="out of retries, pods gone",
    ),
    pytest.param(
        failed(reason="DeadlineExceeded", job=stored({"spec.run": {"activeDeadlineSeconds": 3600}})),
        "ActiveDeadlineExceeded",
        "The job ran for 60 min, as long as it may.",
        True,
        id="deadline",
    ),
    pytest.param(
        failed(reason="Novelty", message="of a newer Kubernetes"),
        "UnexpectedError",
        "Novelty: of a newer Kubernetes.",
        True,
        id="a reason of a newer Kubernetes",
    ),
]


@pytest.mark.parametrize(("observed", "reason", "words", "merges"), SHARDS_FAILED)
def test_a_job_ends_with_the_reason_of_its_shards(
    observed: Observed, reason: str, words: str, merges: bool
) -> None:
    wanted = plan(observed, DEFAULTS, after(hours=1))
    created = [each.manifest for each in wanted.operations if isinstance(each, Create)]
    assert [each["metadata"]["name"] for each in created] == (["posters-0f1e2d3c-finish"] if merges else [])
    if merges:
        (manifest,) = created
        told = {
            v["name"]: v.get("value") for v in manifest["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        assert words in str(told["ASYNCDIFF_FAILURE"])
        assert wanted.status is not None
        assert wanted.status.phase is Phase.FINISHING
        observed = settle(observed, after(hours=1))
        last = pod(
            JOB,
            None,
            "done",
            result=job_result(counts(done=3, total=4), "ShardsFailed", "1 block is unfinished"),
        )
        assert observed.finish_job is not None
        merged = {**observed.finish_job, "status": {"conditions": ended("Complete")}}
        observed = replace(observed, finish_job=merged, pods=(last,))  # the pods that knew are gone
    status = look(observed, after(hours=2))
    assert status.phase is Phase.FAILED
    assert conditions_of(status)["Failed"] == ("True", reason)
    message = message_of(status, ConditionType.FAILED)
    assert words in message
    assert message.endswith(REASONS[reason].remedy)  # type: ignore[index]  # -- a reason is a string
    assert status.pods == 0


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


@pytest.mark.parametrize(("word", "failure", "kind", "reason", "words"), FINISHED)
def test_the_finish_step_has_the_last_word_since_it_has_read_the_ledger(
    word: Any, failure: tuple[str, str] | None, kind: str, reason: str, words: str
) -> None:
    status = look(finished(pod(JOB, None, "done", result=word), failure), after(hours=1))
    assert conditions_of(status)[kind] == ("True", reason)
    assert words in message_of(status, ConditionType(kind))
    assert ({"Complete", "Failed"} - {kind}).isdisjoint(conditions_of(status))
    assert status.phase == kind
    assert status.items is not None
    assert status.items.done == (word.items.done if word else 4)


@pytest.mark.parametrize("failure", [None, RETRIES])
def test_a_finish_step_that_fails_is_told_and_does_not_hide_what_ended_the_shards(
    failure: tuple[str, str] | None,
) -> None:
    said = result(counts(), "OutputRefused", "the bucket has gone", scope="Job", shard=None)
    status = look(finished(pod(JOB, None, "failed", code=69, result=said), failure, "Failed"), after(hours=1))
    assert conditions_of(status)["Failed"] == ("True", failure[0] if failure else "FinishFailed")
    message = message_of(status, ConditionType.FAILED)
    assert "the bucket has gone." in message
    assert not failure or message.startswith(failure[1])
    assert status.items is not None
    assert status.items.done == 4


def test_a_lost_last_word_is_made_up_for_by_what_the_shards_have_counted() -> None:
    observed = finished(None)
    bad = pod(JOB, 3, "done", result=result(counts(rejected=1, total=1)))
    status = look(replace(observed, pods=(*observed.pods[:3], bad)), after(hours=1))
    assert conditions_of(status)["Failed"] == ("True", "TooManyFailedItems")


def test_a_finish_step_that_someone_deletes_is_made_again() -> None:
    done = finished(None)
    merging = settle(replace(done, finish_job=None), after(minutes=5))
    assert merging.finish_job is not None
    going = {**merging.finish_job, "metadata": {**merging.finish_job["metadata"], "deletionTimestamp": "x"}}
    assert plan(replace(merging, finish_job=going), DEFAULTS, after(minutes=6)).operations == ()
    (again,) = plan(replace(merging, finish_job=None), DEFAULTS, after(minutes=7)).operations
    assert isinstance(again, Create)


def test_the_finish_step_is_suspended_with_its_job() -> None:
    done = replace(finished(None), finish_job=None)
    paused = replace(done, job=changed(dict(done.job), {"spec.run.suspend": True}))
    wanted = plan(paused, DEFAULTS, after(minutes=5))
    assert wanted.operations == ()
    assert wanted.status is not None
    assert wanted.status.phase is Phase.SUSPENDED
    merging = settle(done, after(minutes=5))
    later = replace(merging, job=changed(dict(merging.job), {"spec.run.suspend": True}))
    (patch,) = plan(later, DEFAULTS, after(minutes=6)).operations
    assert isinstance(patch, Patch)
    assert patch.changes == {"spec": {"suspend": True}}


def test_a_finish_step_that_finds_no_node_degrades_the_job() -> None:
    merging = settle(replace(finished(None), finish_job=None), after(minutes=5))
    waiting = pod(JOB, None, unscheduled="0/5 nodes are available")
    status = look(replace(merging, pods=(waiting,)), after(minutes=9))
    assert status.phase is Phase.FINISHING
    assert conditions_of(status)["Degraded"] == ("True", "PodsPending")


def test_a_job_that_someone_deleted_ends_the_job_once_that_is_certain_and_is_not_made_again() -> None:
    observed = observe(begun(JOB), config(JOB))
    assert plan(observed, DEFAULTS, after(minutes=1)).questions == {Question.CHILDREN}
    back = replace(observed, shards_job=shards(JOB), pods=(pod(JOB, 0),), answers={Question.CHILDREN: True})
    assert "Failed" not in conditions_of(look(back, after(minutes=1)))
    status = look(replace(observed, answers={Question.CHILDREN: True}), after(minutes=1))
    assert conditions_of(status)["Failed"] == ("True", "ChildDeleted")
    assert "The Job posters-0f1e2d3c was deleted by someone else." in message_of(status, ConditionType.FAILED)


def test_a_job_that_is_being_deleted_is_as_good_as_gone() -> None:
    going = shards(JOB)
    going["metadata"]["deletionTimestamp"] = "2026-01-31T12:01:00Z"
    observed = observe(begun(JOB), config(JOB), going, answers={Question.CHILDREN: True})
    assert conditions_of(look(observed, after(minutes=1)))["Failed"] == ("True", "ChildDeleted")


def test_what_a_job_took_is_told_at_its_end() -> None:
    running = observe(begun(JOB), config(JOB), shards(JOB), pod(JOB, 0))
    begun_at = settle(running, after(minutes=10))
    pods = [
        pod(JOB, shard, "done", result=result(counts(done=1, total=1), throughput=GPU_HOUR))
        for shard in range(4)
    ]
    merged = finishing(JOB, conditions=ended("Complete"))
    last = pod(JOB, None, "done", result=job_result(counts(done=4, total=4)))
    child = shards(JOB, completedIndexes="0-3", conditions=ended("Complete"))
    status = look(
        replace(begun_at, shards_job=child, finish_job=merged, pods=(*pods, last)), after(minutes=110)
    )
    assert (status.start_time, status.completion_time) == (after(minutes=10), after(minutes=110))
    assert status.throughput is not None
    assert status.throughput.items_per_second == 0.000667
    assert status.throughput.items_per_gpu_hour == 1.0
    assert status.throughput.gpu_seconds is not None
    assert status.throughput.gpu_seconds.generate == 4 * 3600


def test_the_finish_step_goes_by_the_failed_items_that_are_allowed_at_the_end() -> None:
    done = replace(finished(None), finish_job=None)
    raised = replace(done, job=changed(dict(done.job), {"spec.acceptance.maxFailedItems": 7}))
    config_made, job_made = (
        each.manifest
        for each in plan(raised, DEFAULTS, after(minutes=5)).operations
        if isinstance(each, Create)
    )
    assert '"maxFailedItems": 7' in config_made["data"]["job.json"]
    volumes = {each["name"]: each for each in job_made["spec"]["template"]["spec"]["volumes"]}
    assert volumes["job"]["configMap"]["name"] == config_made["metadata"]["name"] == "posters-0f1e2d3c-finish"
    (unchanged,) = (
        each.manifest
        for each in plan(done, DEFAULTS, after(minutes=5)).operations
        if isinstance(each, Create)
    )
    volumes = {each["name"]: each for each in unchanged["spec"]["template"]["spec"]["volumes"]}
    assert volumes["job"]["configMap"]["name"] == "posters-0f1e2d3c"
