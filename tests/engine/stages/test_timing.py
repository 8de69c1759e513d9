"""A schedule's seconds and bytes, from its segments' costs."""

import pytest
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead, samples_in_flight
from asyncdiff_runtime.engine.stages.schedule import Schedule, Value
from asyncdiff_runtime.engine.stages.timing import Flow, Link, SegmentCosts, reach, timed
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import built, law

FAST = Link(1e30)


def costs_of(schedule: Schedule, seconds: float = 1.0, count: int = 0) -> SegmentCosts:
    """Segments that cost the same, each read by all later ones."""
    segments = range(schedule.segments)
    flows = tuple(Flow(s, frozenset(range(s + 1, schedule.segments)), count) for s in segments[:-1])
    return SegmentCosts((seconds,) * schedule.segments, flows)


@law
@given(built, st.floats(0.01, 5.0), st.integers(0, 100))
def test_no_schedule_is_quicker_than_its_busiest_stage_or_slower_than_all_work_and_transfers(
    schedule: Schedule, seconds: float, count: int
) -> None:
    timing = timed(schedule, costs_of(schedule, seconds, count), Link(1000.0, 0.001))
    sent = sum(timing.moved.values()) / 1000.0 + 0.001 * len(timing.runs) * schedule.stages
    assert max(timing.busy) <= timing.seconds * (1 + 1e-9)
    assert timing.seconds <= sum(timing.busy) + sent + 1e-9
    assert timing.ticks[-1] == timing.seconds
    assert 0 < timing.balance <= 1 + 1e-9
    assert 0 <= timing.stale_share <= 1


@law
@given(built)
def test_no_cell_begins_before_what_it_reads_is_made(schedule: Schedule) -> None:
    timing = timed(schedule, costs_of(schedule), FAST)
    ends = {run.work.cell.value: run.end for run in timing.runs}
    for run in timing.runs:
        assert all(ends[value] <= run.start + 1e-9 for value in run.work.cell.reads)


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_balanced_circle_is_as_many_times_quicker_as_it_has_stages_but_for_the_warm_up(stages: int) -> None:
    schedule = asyncdiff(stages, 20, warmup=2)
    costs = SegmentCosts((0.5, *(1.0,) * (stages - 1), 0.5), costs_of(schedule).flows)
    timing = timed(schedule, costs, FAST)
    assert timing.seconds == pytest.approx(2 * stages + 18)
    assert timing.sequential_seconds == pytest.approx(20 * stages)
    assert timing.balance == pytest.approx(1)
    assert timing.speed_up == pytest.approx(20 * stages / (2 * stages + 18))
    assert timing.stale_share == pytest.approx(0 if stages == 1 else 18 * (stages - 0.5) / (20 * stages))


def test_several_samples_keep_all_stages_at_work() -> None:
    schedule = samples_in_flight(3, 3, 10)
    timing = timed(schedule, costs_of(schedule), FAST)
    assert timing.seconds == pytest.approx(32)
    assert timing.busy == pytest.approx((30, 30, 30))


def test_bytes_are_those_that_are_read_and_counted_once_for_each_stage() -> None:
    flows = (Flow(0, frozenset({1}), 10), Flow(0, frozenset({1, 2}), 100), Flow(1, frozenset({2}), 7))
    costs = SegmentCosts((1.0, 1.0, 1.0), flows, prediction_bytes=1)
    assert costs.bytes_between(0, [1, 2]) == costs.bytes_between(0, [1]) == 110
    assert costs.bytes_between(0, [2]) == 100
    timing = timed(asyncdiff(2, 4), costs, FAST)
    # The shell keeps what its tail reads of its head; stage 1 never reads the head of the last evaluation.
    assert sum(timing.moved.values()) == 3 * 110 + 3 * 7
    assert timing.bytes == 3 * 110 + 3 * 7 + 4


def test_the_slower_a_link_the_more_is_waited() -> None:
    schedule = asyncdiff(2, 30)
    flows = (Flow(0, frozenset({1}), 1), Flow(1, frozenset({2}), 1))
    costs = SegmentCosts((0.2, 1.0, 0.8), flows)
    timings = [timed(schedule, costs, Link(rate)) for rate in (1e30, 5.0, 0.5)]
    # What takes no longer than the shell's head, 0.2 s, arrives while the head is computed.
    assert timings[1].seconds == pytest.approx(timings[0].seconds + 0.4)
    assert timings[2].seconds > timings[1].seconds
    assert sum(timings[2].waited) > sum(timings[1].waited)


def test_costs_of_another_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="costs of 4 segments for a schedule of 3"):
        timed(asyncdiff(2, 3), costs_of(asyncdiff(3, 3)), FAST)


def test_the_latents_that_a_prediction_rests_on_reach_back_a_stage_at_a_time() -> None:
    schedule = asyncdiff(4, 12)
    found = reach(schedule, costs_of(schedule))
    assert [found[Value(0, 4, evaluation)] for evaluation in (0, 1, 3, 8)] == [
        range(1),
        range(2),
        range(4),
        range(4, 9),
    ]
    ahead = lookahead(4, 12)
    assert reach(ahead, costs_of(ahead))[Value(0, 3, 8)] == range(5, 6)
