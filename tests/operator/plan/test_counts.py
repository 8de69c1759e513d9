"""Counts: never twice, never back, whatever pods come, go and say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from asyncdiff_api.formats.progress import GpuSeconds, SecondsPerItem
from asyncdiff_operator.observed import Observed
from asyncdiff_operator.plan import plan
from asyncdiff_operator.reading.indexes import name_shards, read_indexes, write_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from support.children import (
    DEFAULTS,
    START,
    Document,
    after,
    begun,
    carry_out,
    config,
    counts,
    look,
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

JOB = stored({"spec.generate.seeds": {"count": 40}})
WORKLIST = stored({"spec.generate": {"worklist": {"s3": "s3://renders/list.jsonl"}}})


def running(
    *pods: Document, reports: dict[str, Any] | None = None, job: Document = JOB, **status: Any
) -> Observed:
    return observe(begun(job), config(job), shards(job, **status), *pods, reports=reports or {})


def done(observed: Observed) -> int | None:
    items = look(observed, after(minutes=1)).items
    return items.done if items is not None else None


def test_a_shard_that_ran_in_several_pods_counts_once() -> None:
    first = pod(JOB, 0, "failed", result=result(counts(done=3), final=False))
    second = pod(JOB, 0, "drained", name="b", result=result(counts(done=5)))
    third = pod(JOB, 0, "running", name="c")
    assert done(running(first, second, third, reports={uid_of(third): report(counts(done=7))})) == 7
    assert done(running(first, second, third, reports={uid_of(third): report(counts(done=0))})) == 5


def test_a_pod_that_has_ended_counts_by_its_last_word_and_not_by_its_last_report_as_well() -> None:
    ended = pod(JOB, 0, "done", result=result(counts(done=10)))
    assert done(running(ended, reports={uid_of(ended): report(counts(done=9))}, completedIndexes="0")) == 10


def test_an_accounted_shard_counts_the_same_when_its_pods_are_gone() -> None:
    ended = [pod(JOB, shard, "done", result=result(counts(done=10, total=10))) for shard in (0, 1)]
    before = settle(running(*ended, completedIndexes="0-1"), after(minutes=1))
    assert before.job["status"]["accountedShards"] == ["0-1"]
    assert before.job["status"]["accountedItems"] == {"total": 20, "done": 20, "failed": 0, "rejected": 0}
    assert done(replace(before, pods=())) == 20
    third = pod(JOB, 2)
    assert done(replace(before, pods=(third,), reports={uid_of(third): report(counts(done=4))})) == 24
    assert (
        done(replace(before, pods=(*before.pods, third), reports={uid_of(third): report(counts(done=4))}))
        == 24
    )


@pytest.mark.parametrize(
    "message", [None, "", "{", '{"format": "result"}', "Killed", "[1]", '{"format":"result","version":"9.0"}']
)
def test_a_lost_or_broken_termination_message_is_not_known_yet_and_no_failure(message: str | None) -> None:
    lost = pod(JOB, 0, "done", result=message)
    status = look(running(lost, completedIndexes="0"), after(minutes=1))
    assert status.items is not None
    assert status.items.done == 0
    assert status.accounted_shards == ()
    assert status.shards is not None
    assert status.shards.succeeded == 1


def test_counts_do_not_go_back_when_pods_vanish_with_their_last_words() -> None:
    live = pod(JOB, 0)
    before = settle(running(live, reports={uid_of(live): report(counts(done=7, failed=1))}), after(minutes=1))
    status = look(replace(before, pods=(), reports={}), after(minutes=2))
    assert status.items is not None
    assert (status.items.done, status.items.failed, status.items.running) == (7, 1, 0)


def test_a_failed_shard_is_accounted_with_what_it_made() -> None:
    tried = [
        pod(JOB, 0, "failed", name=name, result=result(counts(done=made)))
        for name, made in (("a", 2), ("b", 6))
    ]
    observed = settle(running(*tried, failedIndexes="0"), after(minutes=1))
    assert observed.job["status"]["accountedItems"]["done"] == 6


@pytest.mark.parametrize(
    ("job", "known"),
    [
        pytest.param(JOB, 40, id="prompts that differ"),
        pytest.param(stored({"spec.generate.prompts": ["a", "a"]}), None, id="prompts that do not"),
        pytest.param(WORKLIST, None, id="a worklist"),
    ],
)
def test_the_total_is_known_at_once_where_it_can_be(job: Document, known: int | None) -> None:
    items = look(running(job=job)).items
    assert items is not None
    assert items.total == known


def test_the_total_of_a_worklist_is_known_once_every_shard_has_counted() -> None:
    ended = pod(WORKLIST, 0, "done", result=result(counts(done=5, total=5)))
    live = [pod(WORKLIST, shard) for shard in (1, 2, 3)]
    reports = {uid_of(each): report(counts(done=1, total=10)) for each in live}
    observed = running(ended, *live, job=WORKLIST, completedIndexes="0", reports=reports)
    items = look(observed, after(minutes=1)).items
    assert items is not None
    assert (items.total, items.done) == (35, 8)
    items = look(replace(observed, reports=dict(list(reports.items())[:2])), after(minutes=1)).items
    assert items is not None
    assert items.total is None


def test_a_report_grows_old_for_speed_and_never_for_counts() -> None:
    live = pod(JOB, 0)
    observed = running(live, reports={uid_of(live): report(counts(done=7), throughput=speed(2.0))})
    status = look(observed, after(seconds=30))
    assert status.throughput is not None
    assert status.throughput.items_per_second == 2.0
    assert status.items is not None
    assert (status.items.done, status.items.running) == (7, 1)
    status = look(observed, after(hours=1))
    assert status.throughput is None
    assert status.items is not None
    assert (status.items.done, status.items.running) == (7, 0)


def test_gpu_seconds_add_up_over_attempts_and_outlive_their_pods() -> None:
    def spent(seconds: float) -> Any:
        return speed(1.0, gpu_seconds=GpuSeconds(generate=seconds, load=1.0))

    pods = [
        pod(JOB, 0, "failed", result=result(counts(done=1), throughput=spent(100))),
        pod(JOB, 0, "done", name="b", result=result(counts(done=10), throughput=spent(300))),
        pod(JOB, 1),
    ]
    reports = {uid_of(pods[2]): report(counts(done=1), throughput=spent(50), at=after(minutes=1))}
    observed = settle(running(*pods, completedIndexes="0", reports=reports), after(minutes=1))
    assert observed.job["status"]["throughput"]["gpuSeconds"]["generate"] == 450
    assert observed.job["status"]["accountedGpuSeconds"]["generate"] == 400
    later = settle(replace(observed, pods=(pods[2],)), after(minutes=2))
    assert (
        later.job["status"]["throughput"]["gpuSeconds"] == observed.job["status"]["throughput"]["gpuSeconds"]
    )


def test_speed_is_the_sum_of_rates_and_the_middle_of_the_rest() -> None:
    pods = [pod(JOB, shard) for shard in range(3)]
    said = [
        speed(1.0, seconds_per_item=SecondsPerItem(p50=p50, p95=p95), milliseconds_per_step=step, speedup=3.0)
        for p50, p95, step in ((1.0, 2.0, 10.0), (2.0, 3.0, 30.0), (6.0, 9.0, 20.0))
    ]
    reports = {uid_of(each): report(counts(), throughput=one) for each, one in zip(pods, said, strict=True)}
    found = look(running(*pods, reports=reports)).throughput
    assert found is not None
    assert found.seconds_per_item is not None
    assert (found.items_per_second, found.items_per_gpu_hour) == (3.0, 3600.0)
    assert (found.seconds_per_item.p50, found.seconds_per_item.p95) == (2.0, 9.0)
    assert (found.milliseconds_per_step, found.speedup) == (20.0, 3.0)


def test_the_estimate_stands_while_it_is_about_right() -> None:
    live = pod(JOB, 0)

    def at(seconds: float, made: int) -> Observed:
        told = report(counts(done=made), at=after(seconds=seconds), throughput=speed(0.01))
        return running(live, reports={uid_of(live): told})

    first = look(at(0, 0))
    assert first.estimated_completion_time == after(seconds=4000)
    later = replace(at(110, 1), job=with_status(JOB, first))
    assert look(later, after(seconds=110)).estimated_completion_time == after(seconds=4000)
    much_later = replace(at(1000, 1), job=with_status(JOB, first))
    assert look(much_later, after(seconds=1000)).estimated_completion_time == after(seconds=4900)


def test_a_status_is_bounded_for_the_largest_job_there_can_be() -> None:
    job = stored({"spec.generate.seeds": {"count": 100_000}, "spec.parallelism.shards": 10_000})
    every_other = ",".join(map(str, range(0, 10_000, 2)))
    pods = [
        pod(job, shard, "done", result=result(counts(done=10**15, total=10**15), message="x" * 3000))
        for shard in range(0, 10_000, 2)
    ]
    observed = observe(begun(job), config(job), shards(job, completedIndexes=every_other), *pods)
    status = look(observed, after(minutes=1))
    assert len(status.accounted_shards) == 5000
    assert len(status.model_dump_json(by_alias=True, exclude_none=True)) < 64 * 1024


def test_counts_that_pods_make_up_do_not_break_the_status() -> None:
    liars = [
        pod(JOB, shard, "done", result=result(counts(done=2**63 - 1, total=2**63 - 1))) for shard in range(4)
    ]
    items = look(running(*liars, completedIndexes="0-3"), after(minutes=1)).items
    assert items is not None
    assert items.done == 2**53 - 1


words = st.builds(counts, done=st.integers(0, 10), failed=st.integers(0, 2), rejected=st.integers(0, 2))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(("running", "failed", "drained", "done")), words),
        max_size=8,
    )
)
def test_no_order_of_pods_and_words_makes_a_shard_count_twice(said: list[tuple[int, str, Any]]) -> None:
    """The sum over shards of the most that any word of the shard has counted: whoever says it, and how often."""
    pods, reports = [], {}
    for number, (shard, state, items) in enumerate(said):
        each = pod(
            JOB, shard, state, name=str(number), **({} if state == "running" else {"result": result(items)})
        )
        pods.append(each)
        if state == "running":
            reports[uid_of(each)] = report(items)
    completed = {shard for shard, state, _ in said if state == "done"}
    observed = running(*pods, reports=reports, completedIndexes=",".join(map(str, sorted(completed))))
    settled = settle(observed, after(minutes=1))
    best = {
        shard: max(
            ((i.done + i.failed + i.rejected, i.done) for s, _, i in said if s == shard), default=(0, 0)
        )
        for shard in range(4)
    }
    items = settled.job["status"]["items"]
    assert items["done"] + items["failed"] + items["rejected"] == sum(most for most, _ in best.values())
    assert items["done"] == sum(made for _, made in best.values())
    # and again when the pods of shards that are done have vanished
    left = tuple(
        each
        for each in pods
        if int(each["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]) not in completed
    )
    assert (
        settle(replace(settled, pods=left), after(minutes=2)).job["status"]["items"]["done"] >= items["done"]
    )


@given(st.sets(st.integers(0, 50)))
def test_indexes_read_back_as_they_were_written(numbers: set[int]) -> None:
    assert read_indexes(",".join(write_runs(numbers))) == numbers


def test_indexes_are_named_in_few_words() -> None:
    assert name_shards({3}) == "shard 3"
    assert name_shards({0, 1, 2, 7}) == "shards 0-2, 7"
    assert name_shards(range(0, 40, 2)) == "shards 0, 2, 4, 6, 8 and 15 more"
    assert read_indexes("x,3-1,,2-") == {2}


def test_a_status_that_someone_has_damaged_mends_itself() -> None:
    live = pod(JOB, 0)
    observed = running(live, reports={uid_of(live): report(counts(done=7))})
    good = settle(observed, START)
    for damage in (
        {"items": {"done": -1}},
        {"conditions": [{"type": "Failed", "status": "Maybe"}]},
        {"phase": "Over"},
    ):
        damaged = {**good.job, "status": {**good.job["status"], **damage}}
        mended = carry_out(
            replace(observed, job=damaged), plan(replace(observed, job=damaged), DEFAULTS, START)
        )
        assert json.dumps(mended.job["status"]["items"]) == json.dumps(good.job["status"]["items"])
        assert mended.job["status"]["phase"] == "Running"
