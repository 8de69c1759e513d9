"""What changes about a Job while it runs: scaling, suspending, deadlines; and what people change about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.status import ConditionType, Phase
from asyncdiff_operator.intent import Create, Patch
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    START,
    Document,
    after,
    begun,
    carry_out,
    changed,
    conditions_of,
    config,
    ended,
    finishing,
    look,
    merged,
    message_of,
    observe,
    pod,
    rfc3339,
    settle,
    shards,
    stored,
)


def patches(job: Document, child: Document, *pods: Document, minutes: float = 1) -> list[dict[str, Any]]:
    """The changes that a plan makes to the Job of the shards."""
    wanted = plan(observe(job, config(job), child, *pods), DEFAULTS, after(minutes=minutes))
    assert all(isinstance(each, Patch) for each in wanted.operations), wanted.operations
    return [dict(each.changes) for each in wanted.operations if isinstance(each, Patch)]


def test_scaling_changes_how_many_pods_run_at_once_and_nothing_else() -> None:
    job = begun(stored())
    scaled = changed(job, {"spec.parallelism.pods": 3})
    assert patches(scaled, shards(job), pod(job, 0)) == [{"spec": {"parallelism": 3}}]


def test_more_pods_than_shards_are_clamped_and_a_person_is_told() -> None:
    job = begun(stored())
    scaled = changed(job, {"spec.parallelism.pods": 9})
    assert patches(scaled, shards(job), pod(job, 0)) == [{"spec": {"parallelism": 4}}]
    status = look(observe(scaled, config(job), shards(job), pod(job, 0)))
    assert conditions_of(status)["Degraded"] == ("True", "PodsClamped")
    assert "9 pods are asked for and 4 shards are there: 4 run at most." in message_of(
        status, ConditionType.DEGRADED
    )


@pytest.mark.parametrize(
    ("field", "value"), [("parallelism", 0), ("suspend", True), ("activeDeadlineSeconds", 5)]
)
def test_what_someone_changes_about_the_job_is_put_back(field: str, value: object) -> None:
    job = begun(stored({"spec.run": {"activeDeadlineSeconds": 3600}}))
    child = shards(job)
    wanted = child["spec"][field]
    child["spec"][field] = value
    (change,) = patches(job, child, pod(job, 0))
    assert change["spec"] == {field: wanted}


def test_a_template_that_someone_changed_or_another_default_image_is_left_as_it_is() -> None:
    job = begun(stored())
    child = shards(job)
    child["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/asyncdiff-runtime:0"
    newer = replace(DEFAULTS, image="registry.example/asyncdiff-runtime:2")
    observed = observe(job, config(job), child, pod(job, 0))
    assert plan(observed, newer, after(minutes=1)).operations == ()


def test_a_config_map_that_someone_deleted_is_made_again_with_the_same_content() -> None:
    job = stored({"spec.parallelism.shards": None, "spec.generate.seeds": {"count": 100}})
    before = config(job)
    child = shards(job)
    scaled = changed(begun(job), {"spec.parallelism.pods": 30})
    operations = plan(observe(scaled, child, pod(job, 0)), DEFAULTS, after(minutes=1)).operations
    (create,) = [each for each in operations if isinstance(each, Create)]
    made, wanted = create.manifest["data"]["job.json"], before["data"]["job.json"]
    assert made == wanted.replace('"pods": 2', '"pods": 30').replace('"generation": 1', '"generation": 2')


def test_a_job_is_suspended_by_its_spec_and_notes_how_long_it_has_run() -> None:
    job = begun(stored({"spec.run": {"activeDeadlineSeconds": 3600}}))
    paused = changed(job, {"spec.run.suspend": True})
    (change,) = patches(paused, shards(job), pod(job, 0), minutes=10)
    assert change["spec"] == {"suspend": True, "activeDeadlineSeconds": 3000}
    assert change["metadata"]["annotations"] == {"asyncdiff.dev/active-seconds": "600"}


def test_a_resumed_job_may_run_for_as_long_as_was_left_and_not_as_long_again() -> None:
    job = begun(stored({"spec.run": {"activeDeadlineSeconds": 3600}}))
    running = observe(job, config(job), shards(job), pod(job, 0))
    paused = replace(running, job=changed(job, {"spec.run.suspend": True}))
    stopped = settle(paused, after(minutes=10))
    resumed = settle(
        replace(stopped, job=changed(dict(stopped.job), {"spec.run.suspend": False})), after(hours=9)
    )
    assert resumed.shards_job is not None
    assert resumed.shards_job["spec"]["suspend"] is False
    assert resumed.shards_job["spec"]["activeDeadlineSeconds"] == 3000
    restarted = {**resumed.shards_job, "status": {"startTime": rfc3339(after(hours=9))}}
    again = replace(resumed, shards_job=restarted, job=changed(dict(resumed.job), {"spec.run.suspend": True}))
    (change,) = (each for each in plan(again, DEFAULTS, after(hours=9, minutes=20)).operations)
    assert isinstance(change, Patch)
    assert change.changes["spec"]["activeDeadlineSeconds"] == 3600 - 600 - 1200


def test_a_suspended_job_says_draining_until_its_pods_have_gone() -> None:
    job = changed(begun(stored()), {"spec.run.suspend": True})
    going = pod(job, 0, going=after(minutes=2))
    draining = settle(observe(job, config(job), shards(begun(stored())), going), after(minutes=1))
    status = look(draining, after(minutes=1))
    assert status.phase is Phase.SUSPENDED
    assert conditions_of(status)["Progressing"] == ("True", "Draining")
    status = look(replace(draining, pods=()), after(minutes=2))
    assert conditions_of(status)["Progressing"] == ("False", "SuspendedByUser")
    assert conditions_of(status)["Suspended"] == ("True", "SuspendedByUser")
    assert status.pods == 0
    assert status.estimated_completion_time is None


@pytest.mark.parametrize(("before", "after_it"), [(None, 60), (60, None), (60, 7200)])
def test_a_deadline_that_is_changed_while_the_job_runs_is_the_jobs_from_then_on(
    before: int | None, after_it: int | None
) -> None:
    job = begun(stored({"spec.run": {"activeDeadlineSeconds": before} if before else {}}))
    child = shards(job)
    later = changed(
        {**job, "spec": {**job["spec"], "run": {**job["spec"]["run"], "activeDeadlineSeconds": 1}}},
        {"spec.run.activeDeadlineSeconds": after_it},
    )
    assert patches(later, child, pod(job, 0)) == [{"spec": {"activeDeadlineSeconds": after_it}}]


def test_what_is_a_queues_is_never_touched() -> None:
    job = begun(stored({"spec.run": {"queueName": "gpus"}}))
    child = shards(job)
    for suspended, parallelism in ((True, 2), (False, 2), (False, 1)):
        child["spec"] |= {"suspend": suspended, "parallelism": parallelism}
        assert patches(job, child, *([] if suspended else [pod(job, 0)])) == []


def test_a_queue_that_kueue_gave_a_job_by_itself_is_left_to_it_as_well() -> None:
    job = begun(stored())
    child = shards(job)
    child["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "default"
    child["spec"]["suspend"] = True
    assert patches(job, child) == []
    status = look(observe(job, config(job), child), after(hours=1))
    assert conditions_of(status)["Suspended"] == ("True", "SuspendedByQueue")


@pytest.mark.parametrize("finishes", [False, True], ids=["shards", "finish step"])
def test_a_job_that_is_suspended_each_time_is_resumed_three_times_and_then_left_with_a_word(
    finishes: bool,
) -> None:
    job = begun(stored())
    done = shards(job, completedIndexes="0-3", conditions=ended("Complete"))
    held = finishing(job) if finishes else shards(job)
    children = (config(job), done) if finishes else (config(job),)

    def suspended_again(child: Document) -> Document:
        return {**child, "spec": {**child["spec"], "suspend": True}, "status": {}}

    for time in range(1, 4):
        observed = observe(job, *children, suspended_again(held))
        (patch,) = plan(observed, DEFAULTS, after(minutes=time)).operations
        assert isinstance(patch, Patch)
        assert patch.changes["spec"] == {"suspend": False}
        held = merged(patch.target, patch.changes)
    observed = observe(job, *children, suspended_again(held))
    wanted = plan(observed, DEFAULTS, after(hours=1))
    assert wanted.operations == ()
    status = look(observed, after(hours=1))
    assert status.phase is Phase.SUSPENDED
    for kind in ("Suspended", "Degraded"):
        assert conditions_of(status)[kind] == ("True", "SuspendedByOthers")
    assert "was resumed 3 times" in message_of(status, ConditionType.SUSPENDED)
    assert ("Warning", "SuspendedByOthers") in [(each.type, each.reason) for each in wanted.events]

    admitted = plan(observe(job, *children, held), DEFAULTS, after(hours=2))
    assert admitted.operations == (), "whoever suspends it may let it go"
    paused = changed(job, {"spec.run.suspend": True})
    (reset,) = plan(observe(paused, *children, suspended_again(held)), DEFAULTS, after(hours=3)).operations
    assert isinstance(reset, Patch)
    assert reset.changes == {"metadata": {"annotations": {"asyncdiff.dev/resumes": None}}}


def test_a_job_in_a_queue_waits_for_it_and_says_so_until_it_is_admitted() -> None:
    job = begun(stored({"spec.run": {"queueName": "gpus"}}))
    child = shards(job)
    status = look(observe(job, config(job), child), after(hours=1))
    assert status.phase is Phase.SUSPENDED
    assert conditions_of(status)["Started"] == ("False", "WaitingForQueue")
    assert conditions_of(status)["Suspended"] == ("True", "SuspendedByQueue")
    child["spec"]["suspend"] = False
    child["status"] = {"startTime": rfc3339(after(hours=1))}
    status = look(
        observe(job, config(job), child, pod(job, 0, "waiting", created=after(hours=1))), after(hours=1)
    )
    assert status.phase is Phase.STARTING
    assert conditions_of(status)["Suspended"] == ("False", "NotSuspended")
    assert conditions_of(status)["Started"] == ("False", "WaitingForPods")


def test_a_job_whose_quota_is_taken_back_is_suspended_though_it_had_started() -> None:
    job = begun(stored({"spec.run": {"queueName": "gpus"}}))
    child = shards(job)
    child["spec"]["suspend"] = False
    running = settle(observe(job, config(job), child, pod(job, 0)), START)
    child["spec"]["suspend"] = True
    status = look(replace(running, shards_job=child, pods=()), after(minutes=5))
    assert status.phase is Phase.SUSPENDED
    assert conditions_of(status)["Started"] == ("True", "PodsRunning")
    assert plan(carry_out(running, plan(running, DEFAULTS, START)), DEFAULTS, START).operations == ()
