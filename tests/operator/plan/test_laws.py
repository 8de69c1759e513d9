"""Laws that hold in every situation there can be, and not only in those that someone thought of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from asyncdiff_api.formats.conditions import REASONS
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.status import ConditionStatus, ConditionType, JobStatus
from asyncdiff_operator.intent import Patch, Plan
from asyncdiff_operator.observed import Observed, Question
from asyncdiff_operator.plan import plan
from asyncdiff_operator.status.memory import recall
from hypothesis import given, settings
from hypothesis import strategies as st
from support.children import (
    DEFAULTS,
    Document,
    after,
    begun,
    carry_out,
    changed,
    config,
    counts,
    ended,
    finishing,
    job_result,
    observe,
    pod,
    report,
    result,
    rfc3339,
    shards,
    speed,
    stored,
    uid_of,
)

ANSWERS: dict[Question, Any] = {
    Question.CHILDREN: True,
    Question.POD_EVENTS: {"uid-shards": ("FailedCreate: exceeded quota",)},
    Question.WORKLIST: None,
    Question.STATUS: None,
}

moments = st.integers(0, 7200).map(lambda seconds: after(seconds=seconds))
runs = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "activeDeadlineSeconds": st.sampled_from((60, 3600)),
        "forceDeleteAfterSeconds": st.just(300),
        "startDeadlineSeconds": st.sampled_from((10, 900)),
    },
) | st.just({"queueName": "gpus"})
words = st.builds(
    counts, done=st.integers(0, 3), failed=st.integers(0, 1), total=st.none() | st.integers(0, 4)
)
reasons = st.sampled_from(("AllItemsDone", "Outage", "AnotherJob", "TooManyFailedItems", "Strange"))
changes = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([*map(int, ExitCode), 1, 137]),
        "result": st.builds(result, words, reasons, st.text(max_size=20)),
        "waits": st.sampled_from((("ErrImagePull", "no such image"), ("ContainerCreating", ""))),
        "unscheduled": st.just("0/5 nodes are available"),
        "disrupted": st.booleans(),
        "going": moments,
        "created": moments,
        "drains": st.sampled_from((0, 1, 101)),
    },
)
states = st.sampled_from(("waiting", "running", "done", "failed", "drained"))
job_ends = st.sampled_from(
    (
        [],
        [],
        ended("Complete"),
        ended("Failed", "PodFailurePolicy", "exit code 66"),
        ended("Failed", "FailedIndexes"),
        ended("Failed", "DeadlineExceeded"),
    )
)


@st.composite
def situations(draw: st.DrawFn) -> Observed:
    """A job somewhere in its life, with children that need not even fit together."""
    job = stored({"spec.run": draw(runs)})
    if draw(st.booleans()):
        job = changed(begun(job), {"spec.parallelism.pods": draw(st.integers(1, 9))})
    children: list[Document] = [config(job)] if draw(st.booleans()) else []
    if draw(st.sampled_from((True, True, False))):
        children.append(_shards(draw, job))
    if draw(st.sampled_from((False, False, True))):
        failure = draw(st.none() | st.just(("RetriesExhausted", "no retry was enough")))
        children.append(finishing(job, failure, conditions=draw(job_ends)))
        word = draw(st.none() | st.builds(job_result, words, reasons))
        children.append(pod(job, None, draw(states), result=word))
    pods = [
        pod(job, shard, draw(states), name=str(number), **draw(changes))
        for number, shard in enumerate(draw(st.lists(st.integers(0, 3), max_size=4)))
    ]
    reports = {
        uid_of(each): report(draw(words), at=draw(moments), throughput=speed(0.125)) for each in pods[:2]
    }
    reachable = draw(st.sampled_from((None, True, False)))
    return observe(job, *children, *pods, reports=reports, reachable=reachable, answers=ANSWERS)


def _shards(draw: st.DrawFn, job: Document) -> Document:
    status = {
        "completedIndexes": draw(st.sampled_from(("", "0", "0-2"))),
        "failedIndexes": draw(st.sampled_from(("", "3"))),
    }
    child = shards(job, started=None, conditions=draw(job_ends), **status)
    child["spec"]["suspend"] = draw(st.booleans())
    child["spec"]["parallelism"] = draw(st.integers(0, 4))
    if not child["spec"]["suspend"] and draw(st.booleans()):
        child["status"]["startTime"] = rfc3339(draw(moments))
    return child


@given(situations(), moments)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(observed: Observed, now: datetime) -> None:
    wanted = plan(observed, DEFAULTS, now)
    later = carry_out(observed, wanted)
    while any(not isinstance(operation, Patch) for operation in wanted.operations):
        wanted = plan(later, DEFAULTS, now)  # what was made or removed may be worth a word
        later = carry_out(later, wanted)
    again = plan(later, DEFAULTS, now)
    assert again.operations == ()
    assert again.status is None


@settings(max_examples=40)
@given(situations(), moments)
def test_the_same_situation_gives_the_same_plan(observed: Observed, now: datetime) -> None:
    assert plan(observed, DEFAULTS, now) == plan(observed, DEFAULTS, now)


@settings(max_examples=40)
@given(situations(), moments, st.integers(1, 7200))
def test_conditions_turn_only_when_their_status_does(observed: Observed, now: datetime, seconds: int) -> None:
    before = carry_out(observed, plan(observed, DEFAULTS, now))
    known = _status(before)
    found = plan(before, DEFAULTS, now + timedelta(seconds=seconds)).status or known
    times = {each.type: (each.status, each.last_transition_time) for each in known.conditions}
    for condition in found.conditions:
        status, moment = times.get(condition.type, (None, None))
        if status is condition.status:
            assert condition.last_transition_time == moment


@settings(max_examples=40)
@given(situations(), moments)
def test_whatever_is_said_is_of_the_closed_list_and_fits_the_condition(
    observed: Observed, now: datetime
) -> None:
    for condition in _status(carry_out(observed, plan(observed, DEFAULTS, now))).conditions:
        assert ConditionType(condition.type) in REASONS[condition.reason].types, condition  # type: ignore[index]  # -- a reason is a string
        assert condition.message
        assert len(condition.message) < 8192


@settings(max_examples=40)
@given(situations(), moments)
def test_a_job_never_both_completes_and_fails_and_once_it_has_ended_it_stays_so(
    observed: Observed, now: datetime
) -> None:
    status = _status(carry_out(observed, plan(observed, DEFAULTS, now)))
    ends = {each.type for each in status.conditions if each.status is ConditionStatus.TRUE} & {
        "Complete",
        "Failed",
    }
    assert len(ends) <= 1
    assert bool(ends) == (status.completion_time is not None)
    if ends:
        ended_job = carry_out(observed, plan(observed, DEFAULTS, now))
        assert plan(replace(ended_job, pods=(), shards_job=None), DEFAULTS, now) == Plan()


@settings(max_examples=40)
@given(situations(), moments)
def test_only_few_fields_of_a_job_are_ever_patched(observed: Observed, now: datetime) -> None:
    for operation in plan(observed, DEFAULTS, now).operations:
        if isinstance(operation, Patch):
            assert operation.changes.keys() <= {"metadata", "spec"}
            assert operation.changes["spec"].keys() <= {"parallelism", "suspend", "activeDeadlineSeconds"}
            assert operation.changes.get("metadata", {}).keys() <= {"annotations"}
            queued = bool(observed.job["spec"]["run"]["queueName"])
            assert not (queued and operation.changes["spec"].keys() & {"parallelism", "suspend"})


@settings(max_examples=40)
@given(situations(), moments)
def test_questions_are_asked_before_anything_is_done(observed: Observed, now: datetime) -> None:
    wanted = plan(replace(observed, answers={}), DEFAULTS, now)
    if wanted.questions:
        assert wanted == Plan(questions=wanted.questions)


def _status(observed: Observed) -> JobStatus:
    return recall(observed.job).status
