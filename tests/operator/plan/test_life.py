"""The life of a job that goes as it should, step by step."""

from __future__ import annotations

import json

from asyncdiff_api.status import ConditionType, JobStatus, Phase
from asyncdiff_operator.intent import Create
from asyncdiff_operator.plan import plan
from support.children import (
    DEFAULTS,
    IMAGE_ID,
    START,
    after,
    carry_out,
    chosen_plan,
    conditions_of,
    config,
    counts,
    ended,
    finishing,
    job_result,
    observe,
    pod,
    report,
    result,
    settle,
    shards,
    speed,
    stored,
    uid_of,
    with_status,
)


def test_a_new_job_gets_a_config_map_and_a_job_in_this_order_and_a_status() -> None:
    wanted = plan(observe(stored()), DEFAULTS, START)

    created = [each.manifest for each in wanted.operations if isinstance(each, Create)]
    assert [(each["kind"], each["metadata"]["name"]) for each in created] == [
        ("ConfigMap", "posters-0f1e2d3c"),
        ("Job", "posters-0f1e2d3c"),
    ]
    assert wanted.status is not None
    assert not wanted.urgent, "its pods may be there in a moment"
    assert wanted.status.phase is Phase.STARTING
    assert wanted.status.shards is not None
    assert wanted.status.shards.total == 4
    assert wanted.status.items is not None
    assert wanted.status.items.total == 4
    assert conditions_of(wanted.status) == {
        "Accepted": ("True", "Valid"),
        "Started": ("False", "WaitingForPods"),
        "Progressing": ("False", "WaitingForPods"),
        "Suspended": ("False", "NotSuspended"),
        "Degraded": ("False", "Healthy"),
        "Reconciling": ("False", "UpToDate"),
        "Stalled": ("False", "UpToDate"),
    }
    assert [(event.type, event.reason) for event in wanted.events] == [("Normal", "Valid")]


def test_a_job_that_was_half_created_gets_the_rest_with_as_many_shards_as_were_written_down() -> None:
    job = stored({"spec.parallelism.shards": None, "spec.generate.seeds.count": 1000})
    half = plan(observe(job), DEFAULTS, START).operations[0]
    assert isinstance(half, Create)
    scaled = stored(
        {"spec.parallelism.shards": None, "spec.generate.seeds.count": 1000, "spec.parallelism.pods": 30}
    )
    (rest,) = plan(observe(scaled, half.manifest), DEFAULTS, START).operations
    assert isinstance(rest, Create)
    assert rest.manifest["kind"] == "Job"
    assert rest.manifest["spec"]["completions"] == 8
    assert rest.manifest["spec"]["parallelism"] == 8


def test_running_pods_make_a_job_running_and_tell_how_it_goes() -> None:
    job = stored()
    begun = settle(observe(job), START)
    first, second = pod(job, 0), pod(job, 1)
    reports = {
        uid_of(first): report(counts(done=0), throughput=speed(0.5), plan=chosen_plan()),
        uid_of(second): report(counts(done=1), throughput=speed(0.25, speedup=3.456)),
    }
    running = observe(begun.job, config(job), shards(job), first, second, reports=reports, reachable=True)
    wanted = plan(running, DEFAULTS, after(seconds=10))

    assert wanted.operations == ()
    assert wanted.status is not None
    status = wanted.status
    assert status.phase is Phase.RUNNING
    assert conditions_of(status)["Progressing"] == ("True", "Generating")
    assert status.items is not None
    assert (status.items.total, status.items.done, status.items.running) == (4, 1, 2)
    assert status.pods == 2
    assert status.start_time == after(seconds=10)
    assert status.throughput is not None
    assert status.throughput.items_per_second == 0.75
    assert status.throughput.speedup == 3.46
    assert status.estimated_completion_time == after(seconds=14)
    assert status.plan is not None
    assert status.plan.strategy == "Lookahead"
    assert status.resolved is not None
    assert (status.resolved.image, status.resolved.model_commit) == (IMAGE_ID, "c0ffee")
    assert status.output is not None
    assert status.output.uri == "s3://renders/posters/"
    assert [uid_of(each) for each in wanted.poll] == [uid_of(first), uid_of(second)]


def test_the_finish_step_runs_when_the_shards_have_ended_with_the_image_that_they_had() -> None:
    job = stored()
    begun = settle(observe(job), START)
    done = shards(job, completedIndexes="0-3", succeeded=4, conditions=ended("Complete"))
    done["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/older:1"
    pods = [pod(job, shard, "done", result=result(counts(done=1, total=1))) for shard in range(4)]
    wanted = plan(observe(begun.job, config(job), done, *pods), DEFAULTS, after(minutes=5))

    (create,) = wanted.operations
    assert isinstance(create, Create)
    assert create.manifest["metadata"]["name"] == "posters-0f1e2d3c-finish"
    assert create.manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/older:1"
    assert wanted.status is not None
    assert wanted.status.phase is Phase.FINISHING
    assert wanted.status.items is not None
    assert wanted.status.items.done == 4
    assert wanted.status.accounted_shards == ("0-3",)


def test_a_job_is_complete_by_the_word_of_the_finish_step() -> None:
    job = stored()
    observed = settle(observe(job), START)
    done = shards(job, completedIndexes="0-3", succeeded=4, conditions=ended("Complete"))
    merging = settle(observe(observed.job, done, pod(job, 0)), after(minutes=5))
    finished = finishing(job, conditions=ended("Complete"))
    last = pod(job, None, "done", result=job_result(counts(done=4, total=4)))
    wanted = plan(observe(merging.job, done, finished, last), DEFAULTS, after(minutes=6))

    status = wanted.status
    assert status is not None
    assert status.phase is Phase.COMPLETE
    assert conditions_of(status)["Complete"] == ("True", "AllItemsDone")
    assert "Failed" not in conditions_of(status)
    assert status.completion_time == after(minutes=6)
    assert status.items is not None
    assert (status.items.total, status.items.done, status.items.running) == (4, 4, 0)
    assert status.output is not None
    assert status.output.manifest == "s3://renders/posters/manifest.jsonl"
    assert status.output.gallery == "s3://renders/posters/gallery/index.html"
    assert [event.reason for event in wanted.events] == ["Valid", "AllItemsDone"]


def test_a_job_that_has_ended_is_left_alone_whatever_becomes_of_its_children() -> None:
    job = stored()
    observed = settle(observe(job), START)
    done = shards(job, completedIndexes="0-3", conditions=ended("Complete"))
    finished = finishing(job, conditions=ended("Complete"))
    last = settle(observe(observed.job, done, finished), after(minutes=6))
    status = JobStatus.model_validate_json(json.dumps(last.job["status"]))
    assert status.phase is Phase.COMPLETE
    for children in ((), (shards(job), pod(job, 0)), (done, finished)):
        left = plan(observe(last.job, *children), DEFAULTS, after(hours=1))
        assert left.operations == ()
        assert left.status is None
        assert left.events == ()
        assert not left.questions


def test_a_job_that_is_deleted_needs_nothing_since_its_children_go_with_it() -> None:
    job = stored(deletionTimestamp="2026-01-31T12:00:00Z")
    wanted = plan(observe(job, shards(job), pod(job, 0)), DEFAULTS, START)
    assert wanted.operations == ()
    assert wanted.status is None


def test_a_namesake_that_comes_at_once_has_children_of_its_own() -> None:
    def children_of(uid: str) -> set[str]:
        wanted = plan(observe(stored(uid=uid)), DEFAULTS, START)
        return {each.manifest["metadata"]["name"] for each in wanted.operations if isinstance(each, Create)}

    one, other = (children_of(f"{digit * 8}-0000-0000-0000-000000000000") for digit in "ab")
    assert not one & other


def test_carrying_out_a_plan_leaves_nothing_to_do() -> None:
    observed = observe(stored())
    first = plan(observed, DEFAULTS, START)
    again = plan(carry_out(observed, first), DEFAULTS, START)
    assert (again.operations, again.status, again.events) == ((), None, first.events)
    assert with_status(observed.job, first.status or JobStatus())["status"]["conditions"][0]["type"] == (
        ConditionType.ACCEPTED
    )
