"""A schedule can be carried out as it stands, or it is refused in a sentence."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from asyncdiff_runtime.engine.errors import ScheduleRefused
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead
from asyncdiff_runtime.engine.stages.schedule import Cell, Schedule, Value
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import arbitrary, asyncdiffs, built, law, with_cell

schedules = st.one_of(built, arbitrary())
CHAIN = lookahead(3, 8, warmup=2, exact_tail=0)


@law
@given(schedules, st.data())
def test_reading_before_it_is_made_is_refused(schedule: Schedule, data: st.DataObject) -> None:
    works = [work for work in schedule.work if work.cell.segment]
    if not works:
        return
    tick, stage, cell = data.draw(st.sampled_from(works))
    segment = data.draw(st.integers(0, cell.segment - 1))
    index = schedule.ticks[tick][stage].index(cell)
    late = [
        cell.evaluation - work.cell.evaluation
        for work in schedule.work
        if (work.cell.sample, work.cell.segment) == (cell.sample, segment)
        and work.cell.evaluation <= cell.evaluation
        and (work.tick > tick or (work.tick == tick and work.stage != stage))
    ]
    if not late:
        return
    ages = list(cell.ages)
    ages[segment] = data.draw(st.sampled_from(late))
    named = (
        f"At tick {tick}, stage {stage}, segment {cell.segment} of evaluation {cell.evaluation} "
        f"(sample {cell.sample}) misses segment {segment} of evaluation {cell.evaluation - ages[segment]}"
    )
    with pytest.raises(ScheduleRefused, match=re.escape(named)):
        with_cell(schedule, tick, stage, index, ages=tuple(ages))


@law
@given(built, st.data())
def test_what_somebody_reads_cannot_be_left_out(schedule: Schedule, data: st.DataObject) -> None:
    tick, stage, cell = data.draw(st.sampled_from(list(schedule.work)))
    stages = list(schedule.ticks[tick])
    stages[stage] = tuple(other for other in stages[stage] if other != cell)
    ticks = (*schedule.ticks[:tick], tuple(stages), *schedule.ticks[tick + 1 :])
    read = any(cell.value in work.cell.reads for work in schedule.work)
    if read or cell.segment == schedule.segments - 1:
        with pytest.raises(ScheduleRefused):
            replace(schedule, ticks=ticks)
    else:
        replace(schedule, ticks=ticks)


@pytest.mark.parametrize(
    ("built_of", "message"),
    [
        (
            lambda: with_cell(CHAIN, 6, 0, 0, foretold=0),
            (
                "At tick 6, stage 0, segment 0 of evaluation 4 (sample 0) misses its true latent: evaluation 3 has no "
                "prediction yet."
            ),
        ),
        (
            lambda: with_cell(CHAIN, 6, 0, 0, foretold=1),
            (
                "At tick 6, stage 0, segment 0 of evaluation 4 (sample 0) misses its foretold over 1 latent: "
                "evaluation 2 has no prediction yet."
            ),
        ),
        (
            lambda: replace(CHAIN, ticks=CHAIN.ticks[:-1]),
            "No stage makes the prediction of evaluation 7, sample 0: segment 2 of it is never computed.",
        ),
        (
            lambda: replace(CHAIN, ticks=(*CHAIN.ticks, CHAIN.ticks[0])),
            (
                "At tick 12, stage 0, segment 0 of evaluation 0 (sample 0) makes it a second time; the first was at "
                "tick 0."
            ),
        ),
        (
            lambda: Schedule(2, 2, 1, 1, (((Cell(0, 0, 0, ()),), (Cell(1, 0, 0, (0,)),)),)),
            (
                "At tick 0, stage 1, segment 1 of evaluation 0 (sample 0) misses segment 0 of evaluation 0, which "
                "stage 0 makes at the same tick and can hand on at its end."
            ),
        ),
        (
            lambda: Schedule(2, 4, 1, 1, ()),
            "2 stages own 2 segments in a chain or 3 in a circle, not 4.",
        ),
        (
            lambda: Schedule(2, 2, 1, 1, (((Cell(1, 0, 0, (0,)),), ()),)),
            "At tick 0, stage 0, segment 1 of evaluation 0 (sample 0) computes a segment that belongs to stage 1.",
        ),
        (lambda: Schedule(2, 2, 0, 1, ()), "A schedule has at least 1 of samples; this one has 0."),
        (
            lambda: Schedule(1, 1, 1, 1, (((Cell(0, 0, 0, (1,)),),),)),
            "At tick 0, stage 0, segment 0 of evaluation 0 (sample 0) gives 1 ages for 0 earlier segments.",
        ),
        (
            lambda: Schedule(1, 1, 1, 2, (((Cell(0, 0, 1, (), 1),),),)),
            (
                "At tick 0, stage 0, segment 0 of evaluation 1 (sample 0) makes a prediction out of order: "
                "evaluation 0 is next."
            ),
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_in_a_sentence(
    built_of: Callable[[], Schedule], message: str
) -> None:
    with pytest.raises(ScheduleRefused, match=f"^{re.escape(message)}$"):
        built_of()


@law
@given(schedules)
def test_transfers_are_what_other_stages_read_and_nothing_else(schedule: Schedule) -> None:
    wanted = {
        (value, work.stage)
        for work in schedule.work
        for value in work.cell.reads
        if schedule.stage_of(value.segment) != work.stage
    }
    transfers = schedule.transfers()
    assert {(transfer.value, transfer.target) for transfer in transfers} == wanted
    assert len(transfers) == len(wanted)
    for transfer in transfers:
        assert transfer.tick == schedule.producer(*transfer.value) < transfer.first_read
        assert transfer.last_read == schedule.last_read(transfer.value, transfer.target)
        assert transfer.source == schedule.stage_of(transfer.value.segment) != transfer.target
    assert list(transfers) == sorted(transfers, key=lambda transfer: (transfer.tick, transfer.source))


@law
@given(schedules, st.data())
def test_transfers_keep_to_the_edges_that_are_there(schedule: Schedule, data: st.DataObject) -> None:
    pairs = [(a, b) for b in range(schedule.segments) for a in range(b)]
    edges = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    chosen = schedule.transfers(edges)
    assert all(
        (transfer.value.segment, segment) in edges for transfer in chosen for segment in transfer.readers
    )
    assert {(t.value, t.target) for t in chosen} <= {(t.value, t.target) for t in schedule.transfers()}
    assert schedule.transfers(set(pairs)) == schedule.transfers()


@law
@given(schedules, schedules)
def test_equal_schedules_have_equal_digests_and_no_others(one: Schedule, other: Schedule) -> None:
    assert (one.digest() == other.digest()) == (one == other)
    assert one.digest() == replace(one).digest()


def test_a_digest_does_not_change_from_release_to_release() -> None:
    assert asyncdiff(2, 4).digest() == "dec6c082eb9a557e016d0645c1167fa3009c145b06176c2251b5e948a2b71a98"


@law
@given(asyncdiffs)
def test_a_value_can_be_let_go_after_its_last_read(schedule: Schedule) -> None:
    for work in schedule.work:
        for value in work.cell.reads:
            last = schedule.last_read(value, work.stage)
            assert last is not None
            assert last >= work.tick
    assert schedule.last_read(Value(0, schedule.segments - 1, 0), 0) is None
