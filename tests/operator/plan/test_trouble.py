"""What hinders a job that runs: each trouble by its reason, most serious first, and gone when it is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import FailurePolicyAction, codes_with
from asyncdiff_api.formats.progress import SecondsPerItem
from asyncdiff_api.status import ConditionType, Phase
from asyncdiff_operator.intent import Delete, Patch
from asyncdiff_operator.observed import Observed, Question
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    START,
    Document,
    after,
    begun,
    changed,
    conditions_of,
    config,
    counts,
    ended,
    look,
    message_of,
    observe,
    pod,
    report,
    result,
    settle,
    shards,
    speed,
    stored,
    uid_of,
)

JOB = stored()


def running(*pods: Document, job: Document = JOB, **fields: Any) -> Observed:
    status = fields.pop("status", {})
    return observe(begun(job), config(job), shards(job, **status), *pods, **fields)


def hung(seconds: float | None, p95: float = 1.0, **fields: Any) -> Observed:
    """A job with one pod that finished its last item so long ago."""
    one = pod(JOB, 0)
    usual = speed(1.0, seconds_per_item=SecondsPerItem(p50=p95, p95=p95))
    told = report(counts(done=1), seconds_since_item=seconds, throughput=usual, **fields)
    return running(one, reports={uid_of(one): told}, reachable=True)


TROUBLES = [
    pytest.param(
        running(pod(JOB, 0, going=START)),
        "PodStuckTerminating",
        "Pod posters-0-a on node node-1: asked to go, and still there more than 60 s past the grace period.",
        id="stuck",
    ),
    pytest.param(
        running(
            pod(JOB, 1),
            pod(JOB, 0, "failed", code=65, result=result(counts(), "TooManyFailedItems", "3 items failed")),
            status={"failedIndexes": "0"},
        ),
        "ShardsFailed",
        "Shard 0 has failed for good: Shard 0 (pod posters-0-a): 3 items failed.",
        id="failed for good",
    ),
    pytest.param(
        running(
            pod(JOB, 0, "failed", code=74, result=result(counts(), "Outage", "the bucket is away")),
            pod(JOB, 0, name="b"),
        ),
        "ShardsRetrying",
        "Shard 0 runs again. Shard 0 (pod posters-0-a): the bucket is away.",
        id="retried",
    ),
    pytest.param(
        running(pod(JOB, 0, "failed", code=137, why="OOMKilled"), pod(JOB, 0, name="b")),
        "ShardsRetrying",
        "Shard 0 (pod posters-0-a): OOMKilled.",
        id="out of memory",
    ),
    pytest.param(
        running(pod(JOB, 0, "failed", code=137), pod(JOB, 0, name="b")),
        "ShardsRetrying",
        "Shard 0 runs again. Shard 0 (pod posters-0-a): The container was ended by signal 9.",
        id="killed",
    ),
    pytest.param(
        hung(901.0),
        "NoProgress",
        "Pod posters-0-a has finished no item for 15 min or more.",
        id="no progress",
    ),
    pytest.param(
        hung(None, uptime_seconds=3601.0),
        "NoProgress",
        "finished no item for 60 min or more",
        id="no first item",
    ),
    pytest.param(
        running(pod(JOB, 0), pod(JOB, 1, unscheduled="0/5 nodes are available")),
        "PodsPending",
        "A pod has been awaited for more than 60 s: Pod posters-1-a finds no node: 0/5 nodes are available.",
        id="pending",
    ),
    pytest.param(
        running(pod(JOB, 0), reachable=False),
        "ProgressUnknown",
        "No running pod answers on /progress",
        id="no answer",
    ),
]


@pytest.mark.parametrize(("observed", "reason", "words"), TROUBLES)
def test_a_trouble_is_told_with_what_to_do_and_the_job_runs_on(
    observed: Observed, reason: str, words: str
) -> None:
    wanted = plan(observed, DEFAULTS, after(minutes=2))
    assert wanted.operations == ()
    assert wanted.status is not None
    assert conditions_of(wanted.status)["Degraded"] == ("True", reason)
    assert words in message_of(wanted.status, ConditionType.DEGRADED)
    assert wanted.status.phase is Phase.RUNNING
    assert (reason, "Warning") in [(event.reason, event.type) for event in wanted.events]


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(running(pod(JOB, 0), reachable=True), id="all is well"),
        pytest.param(running(pod(JOB, 0), reachable=None), id="pods are not asked"),
        pytest.param(running(pod(JOB, 0, going=after(minutes=1, seconds=30))), id="within the grace"),
        pytest.param(running(pod(JOB, 0, "drained"), pod(JOB, 0, name="b")), id="a drain"),
        pytest.param(
            running(pod(JOB, 0, "drained", going=START), pod(JOB, 0, name="b")), id="an end in time"
        ),
        pytest.param(
            running(pod(JOB, 0, "failed", code=137, disrupted=True), pod(JOB, 0, name="b")), id="a disruption"
        ),
        pytest.param(
            running(
                pod(JOB, 0, "failed"),
                pod(JOB, 0, "done", name="b"),
                pod(JOB, 1),
                status={"completedIndexes": "0"},
            ),
            id="a retry that helped",
        ),
        pytest.param(
            running(pod(JOB, 0), pod(JOB, 1, "waiting", created=after(seconds=90))),
            id="a pod that has just been made",
        ),
        pytest.param(hung(100.0), id="an item takes its time"),
        pytest.param(hung(901.0, p95=200.0), id="items take long"),
        pytest.param(hung(None, uptime_seconds=1800.0), id="a model loads"),
        pytest.param(hung(901.0, phase="Draining", running=0), id="nothing left to do"),
    ],
)
def test_what_is_no_trouble_is_not_called_one(observed: Observed) -> None:
    status = look(observed, after(minutes=2))
    assert conditions_of(status)["Degraded"] == ("False", "Healthy"), message_of(
        status, ConditionType.DEGRADED
    )


@pytest.mark.parametrize("code", codes_with(FailurePolicyAction.FAIL_JOB))
def test_nothing_is_said_to_run_again_where_a_failure_ends_the_job(code: int) -> None:
    failed = pod(JOB, 0, "failed", code=code, created=after(minutes=1))
    for observed in (
        running(failed, pod(JOB, 1, "failed", code=74)),
        running(failed, status={"conditions": ended("FailureTarget", "PodFailurePolicy")}),
    ):
        status = look(observed, after(minutes=2))
        assert conditions_of(status)["Degraded"] == ("False", "Healthy")
        assert conditions_of(status)["Progressing"] == ("True", "Draining")


@pytest.mark.parametrize(
    ("failed", "job_says"),
    [
        pytest.param(pod(JOB, 0, "failed", failures=3), {}, id="its retries are used up"),
        pytest.param(pod(JOB, 0, "failed", code=65), {}, id="more lines are wrong than may be"),
        pytest.param(pod(JOB, 0, "failed", code=74), {"failedIndexes": "0"}, id="its Job says so"),
    ],
)
def test_a_shard_that_gets_no_other_pod_has_failed_before_its_job_says_so(
    failed: Document, job_says: Document
) -> None:
    status = look(running(failed, pod(JOB, 1), status=job_says), after(minutes=2))
    message = message_of(status, ConditionType.DEGRADED)
    assert conditions_of(status)["Degraded"] == ("True", "ShardsFailed")
    assert "Shard 0 has failed for good: Shard 0 (pod posters-0-a)" in message
    assert "again" not in message


def test_of_a_shard_that_failed_repeatedly_the_last_error_is_told() -> None:
    first, last = (result(counts(), "Outage", f"the {word}") for word in ("first", "last"))
    pods = (
        pod(JOB, 0, "failed", name="z", created=after(seconds=1), result=first),
        pod(JOB, 0, "failed", name="a", created=after(seconds=9), result=last),
    )
    message = message_of(look(running(*pods), after(minutes=2)), ConditionType.DEGRADED)
    assert message == "Shard 0 runs again. Shard 0 (pod posters-0-a): the last."


def test_a_pod_that_does_not_serve_its_pages_yet_is_not_called_silent() -> None:
    starting = pod(JOB, 0)
    starting["status"]["containerStatuses"][0]["started"] = False
    wanted = plan(running(starting, reachable=False), DEFAULTS, after(minutes=2))
    assert wanted.status is not None
    assert conditions_of(wanted.status)["Degraded"] == ("False", "Healthy")
    assert conditions_of(wanted.status)["Progressing"] == ("True", "PodsRunning")
    assert wanted.poll == ()


def test_of_several_troubles_the_worst_is_the_reason_and_all_are_told() -> None:
    observed = running(
        pod(JOB, 0, going=START),
        pod(JOB, 1, "failed", code=74),
        pod(JOB, 2, unscheduled="no room"),
        reachable=False,
    )
    status = look(observed, after(minutes=2))
    message = message_of(status, ConditionType.DEGRADED)
    assert conditions_of(status)["Degraded"] == ("True", "PodStuckTerminating")
    places = [
        message.index(words) for words in ("asked to go", "Also:", "runs again", "no room", "/progress")
    ]
    assert places == sorted(places)


def test_a_trouble_that_is_gone_is_forgotten_and_its_time_is_when_it_turned() -> None:
    troubled = settle(running(pod(JOB, 0), reachable=False), after(minutes=2))
    still = settle(replace(troubled, pods=(pod(JOB, 0), pod(JOB, 1))), after(minutes=3))
    times = {each["type"]: each["lastTransitionTime"] for each in still.job["status"]["conditions"]}
    assert times["Degraded"] == "2026-01-31T12:02:00Z"
    well = settle(replace(still, reachable=True), after(minutes=4))
    found = {each["type"]: each for each in well.job["status"]["conditions"]}
    assert (found["Degraded"]["status"], found["Degraded"]["lastTransitionTime"]) == (
        "False",
        "2026-01-31T12:04:00Z",
    )
    assert found["Started"]["lastTransitionTime"] == "2026-01-31T12:02:00Z"


def test_events_of_pending_pods_are_asked_for_where_pods_do_not_say_why() -> None:
    observed = running(pod(JOB, 0), pod(JOB, 1, "waiting"))
    assert plan(observed, DEFAULTS, after(minutes=2)).questions == {Question.POD_EVENTS}
    told = replace(
        observed, answers={Question.POD_EVENTS: {"uid-posters-1-a": ("FailedMount: no such secret",)}}
    )
    assert "Pod posters-1-a: FailedMount: no such secret" in message_of(
        look(told, after(minutes=2)), ConditionType.DEGRADED
    )


@pytest.mark.parametrize(("seconds", "forced"), [(299, False), (300, True)])
def test_a_stuck_pod_is_removed_by_force_only_when_a_person_asked_for_it_and_then_in_time(
    seconds: int, forced: bool
) -> None:
    dead = pod(JOB, 0, going=START)
    wanted = plan(running(dead), DEFAULTS, after(days=1))
    assert wanted.operations == ()
    opted = stored({"spec.run": {"forceDeleteAfterSeconds": 300}})
    wanted = plan(running(dead, job=opted), DEFAULTS, after(seconds=seconds))
    assert wanted.operations == ((Delete(target=dead, force=True),) if forced else ())
    assert forced or wanted.look_again_after_seconds == 1


def test_a_pod_that_was_given_up_is_removed_though_its_removal_was_refused_at_first() -> None:
    opted = stored({"spec.run": {"forceDeleteAfterSeconds": 300}})
    given_up = pod(JOB, 0, "running", phase="Failed", going=START)
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByAsyncDiffOperator"}
    given_up["status"]["conditions"] = [disruption]
    (again,) = plan(running(given_up, job=opted), DEFAULTS, after(seconds=301)).operations
    assert again == Delete(target=given_up, force=True)
    given_up["metadata"]["deletionGracePeriodSeconds"] = 0
    held = plan(running(given_up, job=opted), DEFAULTS, after(seconds=302))
    assert held.operations == (), "it was removed, and its Job has yet to take its finalizer off"
    ordinary = pod(JOB, 0, "failed", going=START, disrupted=True)
    assert plan(running(ordinary, job=opted), DEFAULTS, after(seconds=301)).operations == ()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            'FailedCreate: error looking up service account team/a: serviceaccount "a" not found',
            "ServiceAccountMissing",
        ),
        ('FailedMount: MountVolume.SetUp failed for volume "k" : secret "keys" not found', "SecretMissing"),
        (
            'FailedMount: MountVolume.SetUp failed for volume "k" : configmap "ca" not found',
            "ConfigMapMissing",
        ),
    ],
)
def test_what_kubernetes_has_not_found_is_the_reason_before_the_first_pod_runs(
    said: str, reason: str
) -> None:
    answers = {Question.POD_EVENTS: {"uid-shards": (said,)}}
    observed = observe(begun(JOB), config(JOB), shards(JOB), answers=answers)
    status = look(observed, after(seconds=61))
    assert conditions_of(status)["Degraded"] == ("True", reason)
    assert said in message_of(status, ConditionType.DEGRADED)


def test_a_shard_that_is_drained_again_and_again_ends_the_job_with_its_reason() -> None:
    few = running(pod(JOB, 0, drains=100), pod(JOB, 1))
    assert plan(few, DEFAULTS, after(minutes=2)).operations == ()
    many = running(pod(JOB, 0, drains=101), pod(JOB, 1))
    (patch,) = plan(many, DEFAULTS, after(minutes=2)).operations
    assert isinstance(patch, Patch)
    assert patch.changes["spec"] == {"activeDeadlineSeconds": 1}
    noted = patch.changes["metadata"]["annotations"]
    assert noted["asyncdiff.dev/stop-reason"] == Reason.DRAINED_TOO_OFTEN
    assert "101 pods of shard 0" in noted["asyncdiff.dev/stop-message"]
    stopping = settle(many, after(minutes=2))
    assert plan(stopping, DEFAULTS, after(minutes=3)).operations == (), (
        "a Job that was stopped is not started again"
    )


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        (("Loading", "Generating"), "Generating"),
        (("Loading", "Compiling"), "Compiling"),
        (("Loading",), "Loading"),
        (("Pondering",), "PodsRunning"),
        ((), "PodsRunning"),
    ],
)
def test_progress_is_that_of_the_pod_which_is_furthest(phases: tuple[str, ...], reason: str) -> None:
    pods = [pod(JOB, shard) for shard in range(2)]
    reports = {uid_of(each): report(counts(), phase=phase) for each, phase in zip(pods, phases, strict=False)}
    status = look(running(*pods, reports=reports), after(minutes=1))
    assert conditions_of(status)["Progressing"] == ("True", reason)


@pytest.mark.parametrize(
    ("pods", "job_says", "stand"),
    [
        (
            (pod(JOB, 0, "failed"), pod(JOB, 0, "waiting", name="b", created=after(minutes=2))),
            {},
            ("False", "PodsReplaced"),
        ),
        ((), {"completedIndexes": "0-2"}, ("False", "PodsReplaced")),
        ((pod(JOB, 3, "done"),), {"completedIndexes": "0-2"}, ("True", "Finishing")),
        ((), {"completedIndexes": "0-2", "failedIndexes": "3"}, ("True", "Finishing")),
        ((), {"conditions": ended("FailureTarget")}, ("True", "Draining")),
    ],
    ids=[
        "one takes another's place",
        "the next is not there yet",
        "the last is done",
        "all ended",
        "told to go",
    ],
)
def test_a_job_that_has_started_never_waits_for_its_first_pod_again(
    pods: tuple[Document, ...], job_says: Document, stand: tuple[str, str]
) -> None:
    started = settle(running(pod(JOB, 0)), after(minutes=1))
    later = replace(started, pods=pods, shards_job=shards(JOB, **job_says))
    assert conditions_of(look(later, after(minutes=2)))["Progressing"] == stand
    alone = replace(later, pods=(*pods, pod(JOB, 2, name="c")))
    assert conditions_of(look(alone, after(minutes=2)))["Progressing"] == ("True", "PodsRunning")


def test_without_any_answer_nobody_can_tell_how_it_goes() -> None:
    status = look(running(pod(JOB, 0), reachable=False), after(minutes=1))
    assert conditions_of(status)["Progressing"] == ("Unknown", "ProgressUnknown")


def test_the_generation_that_was_acted_on_is_told() -> None:
    job = changed(begun(JOB), {"spec.run.startDeadlineSeconds": 60})
    status = look(observe(job, config(job), shards(job), pod(job, 0)), after(minutes=1))
    assert status.observed_generation == 2
    assert {each.observed_generation for each in status.conditions} == {2}
