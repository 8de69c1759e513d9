"""Pods that do not start: why, in the words of whoever holds them up, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.status import ConditionType, Phase
from asyncdiff_operator.intent import Patch
from asyncdiff_operator.observed import Observed, Question
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    START,
    after,
    begun,
    carry_out,
    conditions_of,
    config,
    look,
    message_of,
    observe,
    pod,
    settle,
    shards,
    stored,
)

JOB = stored()
PULL = ("ErrImagePull", "rpc error: registry.example/asyncdiff-runtime:1: not found")
BACK_OFF = (
    "ImagePullBackOff",
    f'Back-off pulling image "registry.example/asyncdiff-runtime:1": ErrImagePull: {PULL[1]}',
)
NO_NODE = "0/5 nodes are available: 5 Insufficient nvidia.com/gpu."


def waiting(*children: dict[str, Any], events: dict[str, tuple[str, ...]] | None = None) -> Observed:
    """A job of which no pod has started, with all questions answered."""
    answers = {Question.CHILDREN: True, Question.POD_EVENTS: events or {}}
    return observe(begun(JOB), config(JOB), shards(JOB), *children, answers=answers)


REASONS = [
    pytest.param(
        (pod(JOB, 0, "waiting", waits=PULL),), {}, f"its image cannot be pulled: {PULL[1]}", id="pull"
    ),
    pytest.param(
        (pod(JOB, 0, "waiting", waits=BACK_OFF),), {}, f"its image cannot be pulled: {PULL[1]}", id="back-off"
    ),
    pytest.param(
        (pod(JOB, 0, unscheduled=NO_NODE),), {}, f"posters-0-a finds no node: {NO_NODE}", id="no node"
    ),
    pytest.param(
        (pod(JOB, 0, "waiting", waits=("CreateContainerConfigError", "secret not found")),),
        {},
        "CreateContainerConfigError: secret not found",
        id="container",
    ),
    pytest.param(
        (pod(JOB, 0, "waiting"),),
        {"uid-posters-0-a": ("FailedMount: old", 'FailedMount: persistentvolumeclaim "pictures" not found')},
        'Pod posters-0-a: FailedMount: persistentvolumeclaim "pictures" not found',
        id="mount",
    ),
    pytest.param(
        (),
        {"uid-shards": ('FailedCreate: pods "posters" is forbidden: exceeded quota: gpus',)},
        'Job posters-0f1e2d3c: FailedCreate: pods "posters" is forbidden: exceeded quota: gpus',
        id="quota",
    ),
]


@pytest.mark.parametrize(("pods", "events", "words"), REASONS)
def test_a_person_reads_why_long_before_the_deadline(
    pods: tuple[dict[str, Any], ...], events: dict[str, tuple[str, ...]], words: str
) -> None:
    status = look(waiting(*pods, events=events), after(minutes=2))
    assert status.phase is Phase.STARTING
    assert conditions_of(status)["Started"] == ("False", "WaitingForPods")
    assert words in message_of(status, ConditionType.STARTED)
    assert words in message_of(status, ConditionType.PROGRESSING)


@pytest.mark.parametrize(("pods", "events", "words"), REASONS)
def test_past_the_deadline_the_job_fails_with_that_reason_and_its_pods_are_told_to_go(
    pods: tuple[dict[str, Any], ...], events: dict[str, tuple[str, ...]], words: str
) -> None:
    observed = waiting(*pods, events=events)
    wanted = plan(observed, DEFAULTS, after(minutes=15))
    (patch,) = wanted.operations
    assert isinstance(patch, Patch)
    assert patch.changes["spec"] == {"activeDeadlineSeconds": 1}
    status = wanted.status
    assert status is not None
    assert status.phase is Phase.FAILED
    assert conditions_of(status)["Failed"] == ("True", "StartDeadlineExceeded")
    assert conditions_of(status)["Stalled"] == ("True", "Ended")
    message = message_of(status, ConditionType.FAILED)
    assert message.startswith("No pod started within 15 min: ")
    assert words in message
    assert message.endswith("and create the job again.")
    assert [event.type for event in wanted.events if event.reason == "StartDeadlineExceeded"] == ["Warning"]


def test_no_job_is_failed_before_the_api_server_has_said_that_nothing_runs() -> None:
    observed = replace(waiting(pod(JOB, 0, "waiting")), answers={})
    wanted = plan(observed, DEFAULTS, after(minutes=15))
    assert wanted.questions == {Question.CHILDREN, Question.POD_EVENTS}
    assert wanted.operations == ()


def test_a_kubelet_that_tries_in_turns_does_not_change_the_status_each_time() -> None:
    tries = settle(waiting(pod(JOB, 0, "waiting", waits=PULL)), after(minutes=2))
    rests = replace(tries, pods=(pod(JOB, 0, "waiting", waits=BACK_OFF),))
    assert plan(rests, DEFAULTS, after(minutes=3)).status is None


def test_events_are_asked_for_where_pods_do_not_say_why_and_only_there() -> None:
    silent = replace(waiting(pod(JOB, 0, "waiting")), answers={})
    assert plan(silent, DEFAULTS, after(seconds=30)).questions == set()
    assert plan(silent, DEFAULTS, after(minutes=2)).questions == {Question.POD_EVENTS}
    telling = replace(waiting(pod(JOB, 0, "waiting", waits=PULL)), answers={})
    assert plan(telling, DEFAULTS, after(minutes=2)).questions == set()


def test_the_operator_looks_again_at_the_deadline_and_not_much_before() -> None:
    assert plan(waiting(pod(JOB, 0, "waiting")), DEFAULTS, after(seconds=10)).look_again_after_seconds == 50
    assert plan(waiting(pod(JOB, 0, "waiting")), DEFAULTS, after(seconds=890)).look_again_after_seconds == 10


@pytest.mark.parametrize(
    "started",
    [
        pytest.param((shards(JOB), pod(JOB, 0), pod(JOB, 1, "waiting")), id="another pod runs"),
        pytest.param((shards(JOB), pod(JOB, 0, "failed"), pod(JOB, 1, "waiting")), id="a pod ran and failed"),
        pytest.param((shards(JOB, succeeded=1), pod(JOB, 1, "waiting")), id="a shard is done"),
        pytest.param((shards(JOB, started=None), pod(JOB, 1, "waiting")), id="the Job has not begun"),
    ],
)
def test_the_deadline_is_for_the_first_pod_alone(started: tuple[dict[str, Any], ...]) -> None:
    observed = observe(begun(JOB), config(JOB), *started, answers=waiting().answers)
    assert "Failed" not in conditions_of(look(observed, after(hours=2)))


def test_a_pod_that_was_deleted_before_it_started_does_not_count_as_a_start() -> None:
    gone = pod(JOB, 0, "failed", code=137, why="ContainerStatusUnknown")
    gone["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"] = None
    status = look(waiting(gone, pod(JOB, 0, "waiting", name="b", waits=PULL)), after(minutes=16))
    assert conditions_of(status)["Failed"] == ("True", "StartDeadlineExceeded")


def test_a_pod_that_ran_is_remembered_when_it_is_gone() -> None:
    ran = settle(waiting(pod(JOB, 0)), after(minutes=1))
    later = replace(ran, pods=(pod(JOB, 0, "waiting", name="b", waits=PULL, created=after(minutes=5)),))
    status = look(later, after(hours=2))
    assert "Failed" not in conditions_of(status)
    assert conditions_of(status)["Degraded"] == ("True", "PodsPending")
    assert PULL[1] in message_of(status, ConditionType.DEGRADED)
    assert status.start_time == after(minutes=1)


def test_an_operator_that_was_killed_between_stopping_the_pods_and_telling_why_tells_it_later() -> None:
    observed = waiting(pod(JOB, 0, "waiting", waits=PULL))
    told_nothing = replace(carry_out(observed, plan(observed, DEFAULTS, after(minutes=15))), job=observed.job)
    assert told_nothing.shards_job is not None
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    job = {**told_nothing.shards_job, "status": {"startTime": "2026-01-31T12:00:00Z", "conditions": [failed]}}
    status = look(replace(told_nothing, shards_job=job, pods=()), after(minutes=20))
    assert conditions_of(status)["Failed"] == ("True", "StartDeadlineExceeded")
    assert PULL[1] in message_of(status, ConditionType.FAILED)


def test_the_deadline_does_not_run_while_a_job_is_suspended_or_in_a_queue() -> None:
    for run in ({"suspend": True}, {"queueName": "gpus"}):
        job = stored({"spec.run": run})
        status = look(observe(begun(job), config(job), shards(job)), after(days=9))
        assert status.phase is Phase.SUSPENDED


def test_a_longer_deadline_is_heeded_at_once() -> None:
    longer = stored({"spec.run": {"startDeadlineSeconds": 7200}})
    observed = replace(waiting(pod(JOB, 0, "waiting", waits=PULL)), job=begun(longer))
    assert "Failed" not in conditions_of(look(observed, after(hours=1)))
    assert after(hours=1) > START
