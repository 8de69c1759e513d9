"""What people are told at once, what with the next counts, and for what there is a line in `kubectl describe`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from asyncdiff_api.status import ConditionType
from asyncdiff_operator.intent import Plan
from asyncdiff_operator.observed import Manifest, Observed
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    START,
    after,
    config,
    counts,
    ended,
    finishing,
    job_result,
    message_of,
    observe,
    pod,
    report,
    result,
    settle,
    shards,
    stored,
    uid_of,
    with_status,
)

ASKED, NOT_ASKED = DEFAULTS, replace(DEFAULTS, ask_for_progress=False)
JOB = stored()
AT_WORK = pod(JOB, 0)


def at_work(job: Manifest, phase: str, done: int, at: datetime) -> Observed:
    """A pod runs and says what it does."""
    said = report(counts(done=done), phase=phase, at=at)
    reports = {uid_of(AT_WORK): said}
    return observe(job, config(JOB), shards(JOB), AT_WORK, reports=reports, reachable=True)


def stored_after(job: Manifest, wanted: Plan) -> Manifest:
    """The job with the status that a plan wants."""
    return job if wanted.status is None else with_status(job, wanted.status)


def test_a_start_that_goes_well_is_told_where_it_begins_and_where_it_is_through() -> None:
    job: Manifest = JOB
    told = []
    for seconds, phase, done in (
        (10, "", 0),
        (20, "Loading", 0),
        (30, "Compiling", 0),
        (40, "Generating", 0),
        (50, "Generating", 1),
    ):
        now = after(seconds=seconds)
        observed = observe(job, config(JOB), shards(JOB), AT_WORK)
        wanted = plan(at_work(job, phase, done, now) if phase else observed, ASKED, now)
        assert wanted.status is not None
        told.append((phase, wanted.urgent, [str(event.reason) for event in wanted.events]))
        job = stored_after(job, wanted)

    assert told == [
        ("", False, ["Valid"]),  # the first that is said of the job at all
        ("Loading", False, ["Valid"]),
        ("Compiling", False, ["Valid"]),
        ("Generating", True, ["Valid", "Generating"]),
        ("Generating", False, ["Valid", "Generating"]),
    ]


def test_that_pods_run_is_told_where_nobody_asks_them_for_more() -> None:
    begun = settle(observe(JOB), START)
    for defaults, told in ((ASKED, ["Valid"]), (NOT_ASKED, ["Valid", "PodsRunning"])):
        wanted = plan(observe(begun.job, config(JOB), shards(JOB), AT_WORK), defaults, after(seconds=10))
        assert wanted.urgent
        assert [str(event.reason) for event in wanted.events] == told


@pytest.mark.parametrize(
    ("changes", "phase"),
    [({"spec.run.suspend": True}, "Suspended"), ({}, "Starting")],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_first_status_that_is_no_news_can_wait(changes: dict[str, bool], phase: str) -> None:
    wanted = plan(observe(stored(changes)), DEFAULTS, START)
    assert wanted.status is not None
    assert str(wanted.status.phase) == phase
    assert not wanted.urgent


def test_a_job_that_is_not_accepted_and_one_that_has_ended_hear_it_at_once() -> None:
    refused = plan(observe(JOB, refusal="exceeded quota"), DEFAULTS, START)
    assert refused.status is not None
    assert str(refused.status.phase) == "Pending"
    assert refused.urgent

    done = shards(JOB, completedIndexes="0-3", succeeded=4, conditions=ended("Complete"))
    pods = [pod(JOB, shard, "done", result=result(counts(done=1, total=1))) for shard in range(4)]
    last = pod(JOB, None, "done", result=job_result(counts(done=4, total=4)))
    merged = observe(
        JOB, config(JOB), done, finishing(JOB, conditions=ended("Complete")), *pods, last
    )  # all of it while no operator was there
    over = plan(merged, DEFAULTS, after(hours=1))
    assert over.status is not None
    assert str(over.status.phase) == "Complete"
    assert over.urgent


def test_from_the_last_shards_end_to_the_jobs_two_statuses_are_written() -> None:
    moment = after(seconds=10)
    running = stored_after(JOB, plan(at_work(JOB, "Generating", 0, moment), ASKED, moment))
    pods = [pod(JOB, shard, "done", result=result(counts(done=1, total=1))) for shard in range(4)]

    through = plan(observe(running, config(JOB), shards(JOB), *pods), ASKED, after(minutes=1))
    assert through.status is not None
    assert str(through.status.phase) == "Finishing"
    assert not through.urgent, "their Job says so in a moment, and counts them"

    done = shards(JOB, completedIndexes="0-3", succeeded=4, conditions=ended("Complete"))
    begun = plan(observe(running, config(JOB), done, *pods), ASKED, after(minutes=1))
    assert begun.urgent
    assert begun.status is not None
    started = {message_of(status, ConditionType.STARTED) for status in (through.status, begun.status)}
    assert started == {"Pods of the job have started."}
    merging = stored_after(running, begun)
    last = pod(JOB, None, "done", result=job_result(counts(done=4, total=4)))
    for finish_pods in ((), (pod(JOB, None, "waiting"),), (pod(JOB, None),), (last,)):
        seen = observe(merging, config(JOB), done, finishing(JOB), *pods, *finish_pods)
        assert plan(seen, ASKED, after(minutes=1, seconds=5)).status is None
    over = observe(merging, config(JOB), done, finishing(JOB, conditions=ended("Complete")), *pods, last)
    assert plan(over, ASKED, after(minutes=2)).urgent
