"""The timetables of AsyncDiff, of lookahead and of several samples in flight."""

import re
from collections.abc import Callable

import pytest
from asyncdiff_runtime.engine.errors import LayoutError
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead, samples_in_flight
from asyncdiff_runtime.engine.stages.schedule import Cell, Schedule
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import evaluation_counts, law, stage_counts

warmups = st.integers(1, 8)
strides = st.integers(1, 5)
tails = st.integers(0, 4)


def exact_evaluations(schedule: Schedule, sample: int = 0) -> list[int]:
    return [e for e in range(schedule.evaluations) if schedule.exact(sample, e)]


def computed(schedule: Schedule, segment: int) -> list[int]:
    return sorted(work.cell.evaluation for work in schedule.work if work.cell.segment == segment)


@law
@given(st.integers(2, 4), evaluation_counts, strides, warmups, tails, st.booleans())
def test_asyncdiff_warms_up_for_exactly_as_many_evaluations_as_asked_at_every_stride(
    stages: int, evaluations: int, stride: int, warmup: int, tail: int, circular: bool
) -> None:
    schedule = asyncdiff(
        stages, evaluations, stride=stride, warmup=warmup, exact_tail=tail, circular=circular
    )
    exact = [e for e in range(evaluations) if e < warmup or e >= evaluations - tail]
    assert exact_evaluations(schedule) == exact
    assert len(schedule.ticks) == len(exact) * schedule.segments + evaluations - len(exact)


@law
@given(stage_counts, evaluation_counts, strides, warmups, tails, st.booleans())
def test_asyncdiff_refreshes_all_stages_but_the_shell_once_a_stride(
    stages: int, evaluations: int, stride: int, warmup: int, tail: int, circular: bool
) -> None:
    schedule = asyncdiff(
        stages, evaluations, stride=stride, warmup=warmup, exact_tail=tail, circular=circular
    )
    last = schedule.segments - 1
    shell = {0, last} if circular else {last}
    refreshed = [
        e for e in range(evaluations) if not warmup <= e < evaluations - tail or (e - warmup) % stride == 0
    ]
    for segment in range(schedule.segments):
        assert computed(schedule, segment) == (list(range(evaluations)) if segment in shell else refreshed)


@law
@given(st.integers(2, 4), evaluation_counts, strides, warmups, tails, st.booleans())
def test_asyncdiff_reads_nothing_older_than_a_stride_and_nothing_of_other_stages_that_is_new(
    stages: int, evaluations: int, stride: int, warmup: int, tail: int, circular: bool
) -> None:
    schedule = asyncdiff(
        stages, evaluations, stride=stride, warmup=warmup, exact_tail=tail, circular=circular
    )
    for work in schedule.work:
        if schedule.exact(0, work.cell.evaluation):
            assert not work.cell.stale
            continue
        for segment, age in enumerate(work.cell.ages):
            if schedule.stage_of(segment) == work.stage:
                assert age == 0
            else:
                assert 1 <= age <= (1 if circular and segment == 0 else stride)
        if stride == 1:
            own = (0,) if work.stage == 0 and work.cell.segment else ()
            assert work.cell.ages == own + (1,) * (work.cell.segment - len(own))


def test_asyncdiff_in_two_stages_reads_as_it_is_written_down() -> None:
    def a(evaluation: int) -> Cell:
        return Cell(0, 0, evaluation, ())

    def b(evaluation: int, age: int) -> Cell:
        return Cell(1, 0, evaluation, (age,))

    def c(evaluation: int, *ages: int) -> Cell:
        return Cell(2, 0, evaluation, ages)

    assert asyncdiff(2, 4, stride=2, warmup=1).ticks == (
        ((a(0),), ()),
        ((), (b(0, 0),)),
        ((c(0, 0, 0),), ()),
        ((a(1), c(1, 0, 1)), (b(1, 1),)),
        ((a(2), c(2, 0, 1)), ()),
        ((a(3), c(3, 0, 2)), (b(3, 1),)),
    )


@pytest.mark.parametrize("circular", [True, False])
@law
@given(evaluation_counts, warmups)
def test_one_stage_reads_nothing_old(circular: bool, evaluations: int, warmup: int) -> None:
    schedule = asyncdiff(1, evaluations, warmup=warmup, circular=circular)
    assert exact_evaluations(schedule) == list(range(evaluations))


def test_one_stage_with_a_stride_keeps_its_deep_part() -> None:
    schedule = asyncdiff(1, 6, stride=2, warmup=1)
    assert [computed(schedule, segment) for segment in range(3)] == [
        [0, 1, 2, 3, 4, 5],
        [0, 1, 3, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    assert exact_evaluations(schedule) == [0, 1, 3, 5]
    assert [work.cell.ages for work in schedule.work if work.cell.segment == 2] == [
        (0, 0),
        (0, 0),
        (0, 1),
        (0, 0),
        (0, 1),
        (0, 0),
    ]


@law
@given(stage_counts, evaluation_counts, strides, st.booleans())
def test_warming_up_for_all_evaluations_is_exact(
    stages: int, evaluations: int, stride: int, circular: bool
) -> None:
    schedule = asyncdiff(stages, evaluations, stride=stride, warmup=evaluations, circular=circular)
    assert exact_evaluations(schedule) == list(range(evaluations))
    assert not any(work.cell.stale for work in schedule.work)


@law
@given(st.integers(2, 4), evaluation_counts, st.integers(2, 6), tails)
def test_lookahead_is_exact_for_exactly_as_many_evaluations_as_asked(
    stages: int, evaluations: int, warmup: int, tail: int
) -> None:
    schedule = lookahead(stages, evaluations, warmup=warmup, exact_tail=tail)
    exact = [e for e in range(evaluations) if e < warmup or e >= evaluations - tail]
    assert exact_evaluations(schedule) == exact


@law
@given(stage_counts, evaluation_counts, st.integers(2, 6), tails)
def test_lookahead_foretells_no_further_than_the_stages_before_the_last_and_keeps_nothing_old(
    stages: int, evaluations: int, warmup: int, tail: int
) -> None:
    schedule = lookahead(stages, evaluations, warmup=warmup, exact_tail=tail)
    for work in schedule.work:
        assert not any(work.cell.ages)
        assert work.cell.foretold <= stages - 1
    steady = range(warmup + stages - 1, evaluations - tail)
    assert all(work.cell.foretold == stages - 1 for work in schedule.work if work.cell.evaluation in steady)


@law
@given(stage_counts, st.integers(1, 10), st.integers(2, 6))
def test_a_stage_of_lookahead_is_as_many_evaluations_ahead_as_stages_follow_it(
    stages: int, evaluations: int, warmup: int
) -> None:
    schedule = lookahead(stages, evaluations, warmup=warmup, exact_tail=0)
    for work in schedule.work:
        if work.cell.evaluation >= warmup:
            finished = schedule.predicted(0, work.cell.evaluation)
            assert finished - work.tick == stages - 1 - work.stage


@law
@given(stage_counts, st.integers(1, 6), evaluation_counts)
def test_samples_in_flight_are_exact_as_soon_as_there_is_one_for_each_stage(
    stages: int, samples: int, evaluations: int
) -> None:
    schedule = samples_in_flight(stages, samples, evaluations)
    furthest = max(work.cell.foretold for work in schedule.work)
    assert furthest <= -(-stages // samples) - 1
    if samples >= stages:
        assert all(exact_evaluations(schedule, s) == list(range(evaluations)) for s in range(samples))
        assert len(schedule.ticks) == samples * evaluations + stages - 1


@law
@given(stage_counts, evaluation_counts, st.integers(2, 5), tails)
def test_lookahead_is_one_sample_in_flight(stages: int, evaluations: int, warmup: int, tail: int) -> None:
    assert lookahead(stages, evaluations, warmup=warmup, exact_tail=tail) == samples_in_flight(
        stages, 1, evaluations, warmup=warmup, exact_tail=tail
    )


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: asyncdiff(0, 8), "stages is 0; it is at least 1."),
        (lambda: asyncdiff(2, 0), "evaluations is 0; it is at least 1."),
        (lambda: asyncdiff(2, 8, stride=0), "stride is 0; it is at least 1."),
        (
            lambda: asyncdiff(2, 8, warmup=0),
            "warmup is 0; the first evaluation is always exact, so it is at least 1.",
        ),
        (lambda: asyncdiff(2, 8, exact_tail=-1), "exact_tail is -1; it is at least 0."),
        (lambda: samples_in_flight(2, 0, 8), "samples is 0; it is at least 1."),
        (
            lambda: lookahead(2, 8, warmup=1),
            "warmup is 1; a latent is foretold from two true ones, so it is at least 2.",
        ),
    ],
)
def test_counts_that_are_too_small_are_refused_by_name(make: Callable[[], Schedule], refusal: str) -> None:
    with pytest.raises(LayoutError, match=f"^{re.escape(refusal)}$"):
        make()
