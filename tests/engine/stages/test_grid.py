"""A schedule prints as a grid, and the grid parses back."""

import re

import pytest
from asyncdiff_runtime.engine.errors import ScheduleRefused
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead, samples_in_flight
from asyncdiff_runtime.engine.stages.grid import parse, text
from asyncdiff_runtime.engine.stages.schedule import Cell, Schedule
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import arbitrary, built, law

ASYNCDIFF = """\
4 stages, 5 segments, 1 sample, 12 evaluations

tick       0  1 2 3 4  5  6  7  8  9  10 11 12 13 14  15
stage 0 ae a0 · · · e0 1' 2' 3' 4' 5' 6' 7' 8' 9' 10' 11'
stage 1 b  ·  0 · · ·  1' 2' 3' 4' 5' 6' 7' 8' 9' 10' 11'
stage 2 c  ·  · 0 · ·  1' 2' 3' 4' 5' 6' 7' 8' 9' 10' 11'
stage 3 d  ·  · · 0 ·  1' 2' 3' 4' 5' 6' 7' 8' 9' 10' 11'
"""
STRIDE = """\
2 stages, 3 segments, 1 sample, 7 evaluations

tick       0  1 2  3  4 5  6  7  8   9  10
stage 0 ac a0 · c0 a1 · c1 2' 3' 4'' 5' 6''
stage 1 b  ·  0 ·  ·  1 ·  2' ·  4'  ·  6'
"""


@law
@given(st.one_of(built, arbitrary()), st.integers(12, 100))
def test_every_schedule_reads_back_from_its_grid(schedule: Schedule, width: int) -> None:
    assert parse(text(schedule, width)) == schedule


@law
@given(built)
def test_what_is_built_needs_no_ages_written_out(schedule: Schedule) -> None:
    assert "(" not in text(schedule)


@pytest.mark.parametrize(
    ("schedule", "grid"), [(asyncdiff(4, 12), ASYNCDIFF), (asyncdiff(2, 7, stride=2, warmup=2), STRIDE)]
)
def test_a_grid_is_read_at_a_glance(schedule: Schedule, grid: str) -> None:
    assert text(schedule) == grid


@pytest.mark.parametrize("schedule", [asyncdiff(4, 12), lookahead(4, 12), samples_in_flight(4, 2, 12)])
def test_a_grid_is_no_wider_than_a_terminal(schedule: Schedule) -> None:
    assert max(map(len, text(schedule).splitlines())) <= 80


def test_many_segments_and_samples_read_back() -> None:
    many = Schedule(1, 28, 1, 1, ((tuple(Cell(segment, 0, 0, (0,) * segment) for segment in range(28)),),))
    assert parse(text(many)) == many
    apart = Schedule(1, 28, 1, 1, tuple(((Cell(segment, 0, 0, (0,) * segment),),) for segment in range(28)))
    assert parse(text(apart)) == apart
    crowd = samples_in_flight(2, 28, 1)
    assert parse(text(crowd)) == crowd


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (("4 stages,", "Some stages,"), "A grid begins with its extent"),
        (("stage 3", "stage 4"), "Line 7 of the grid is no row of stages 0 to 3"),
        (("e0", "e0?"), "Line 4 of the grid, stage 0: 'e0?' is no cell"),
        (
            ("e0 1'", "e0 1"),
            "At tick 5, evaluation 1 is marked '', but the newest of what it reads has the mark \"'\"",
        ),
        (
            ("·  0 · · ·  1'", "·  0 · · ·  1(0)"),
            "At tick 5, stage 1, segment 1 of evaluation 1 (sample 0) misses segment 0 of evaluation 1",
        ),
        (
            ("b  ·  0 ", "b  ·  · "),
            "At tick 2, stage 2, segment 2 of evaluation 0 (sample 0) misses segment 1",
        ),
    ],
)
def test_a_grid_that_says_nothing_possible_is_refused_in_a_sentence(
    change: tuple[str, str], refusal: str
) -> None:
    with pytest.raises(ScheduleRefused, match=re.escape(refusal)):
        parse(ASYNCDIFF.replace(*change))
