"""Schedules to state laws over: those that are built, and any others that can be carried out."""

from dataclasses import replace
from itertools import product

from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead, samples_in_flight
from asyncdiff_runtime.engine.stages.schedule import Cell, Schedule
from hypothesis import settings
from hypothesis import strategies as st

_MOST_STAGES = 4
_MOST_EVALUATIONS = 10

law = settings(deadline=None, max_examples=50)

stage_counts = st.integers(1, _MOST_STAGES)
evaluation_counts = st.integers(1, _MOST_EVALUATIONS)

asyncdiffs = st.builds(
    asyncdiff,
    stage_counts,
    evaluation_counts,
    stride=st.integers(1, 4),
    warmup=st.integers(1, 6),
    exact_tail=st.integers(0, 3),
    circular=st.booleans(),
)
lookaheads = st.builds(
    lookahead, stage_counts, evaluation_counts, warmup=st.integers(2, 5), exact_tail=st.integers(0, 3)
)
pipelines = st.builds(
    samples_in_flight,
    stage_counts,
    st.integers(1, 6),
    evaluation_counts,
    warmup=st.integers(2, 4),
    exact_tail=st.integers(0, 2),
)
built = st.one_of(asyncdiffs, lookaheads, pipelines)


@st.composite
def arbitrary(draw: st.DrawFn) -> Schedule:
    """Any schedule that can be carried out, however little sense it makes."""
    stages = draw(st.integers(1, 4))
    segments = stages + draw(st.integers(0, 1))
    samples, evaluations = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    drawing = _Drawing(draw, segments)
    ticks = []
    known = [0] * samples
    while min(known) < evaluations:
        unfinished = [sample for sample in range(samples) if known[sample] < evaluations]
        sample = draw(st.sampled_from(unfinished))
        cell = drawing.next_of(sample, known[sample])
        cells: list[list[Cell]] = [[] for _ in range(stages)]
        cells[cell.segment % stages].append(cell)
        drawing.made_now(cell)
        for segment, other, evaluation in draw(
            st.permutations(list(product(range(segments), unfinished, range(evaluations))))
        )[: draw(st.integers(0, 3))]:
            last = segment == segments - 1
            if evaluation < known[other] or (last and (evaluation > known[other] or other == sample)):
                continue
            if extra := drawing.maybe(segment, other, evaluation, known[other], segment % stages, stages):
                cells[segment % stages].append(extra)
                drawing.made_now(extra)
        for done in drawing.end_tick():
            known[done] += 1
        ticks.append(tuple(map(tuple, cells)))
    return Schedule(stages, segments, samples, evaluations, tuple(ticks))


class _Drawing:
    """What was made so far, and cells that may come next."""

    def __init__(self, draw: st.DrawFn, segments: int) -> None:
        self._draw = draw
        self._segments = segments
        self._before: set[tuple[int, int, int]] = set()
        self._now: set[tuple[int, int, int]] = set()

    def next_of(self, sample: int, evaluation: int) -> Cell:
        """The first segment that an evaluation still lacks."""
        missing = (s for s in range(self._segments) if (sample, s, evaluation) not in self._before)
        found = self._cell(next(missing), sample, evaluation, evaluation, self._before)
        assert found is not None, "the segments before it are there"
        return found

    def maybe(
        self, segment: int, sample: int, evaluation: int, known: int, stage: int, stages: int
    ) -> Cell | None:
        """A cell, if what it needs is there."""
        if (sample, segment, evaluation) in self._before | self._now:
            return None
        own = {value for value in self._now if value[1] % stages == stage}
        return self._cell(segment, sample, evaluation, known, self._before | own)

    def made_now(self, cell: Cell) -> None:
        """Takes note of a cell of this tick."""
        self._now.add((cell.sample, cell.segment, cell.evaluation))

    def end_tick(self) -> list[int]:
        """Gives the samples that got a prediction."""
        done = [sample for sample, segment, _ in self._now if segment == self._segments - 1]
        self._before |= self._now
        self._now = set()
        return done

    def _cell(
        self, segment: int, sample: int, evaluation: int, known: int, there: set[tuple[int, int, int]]
    ) -> Cell | None:
        ages = []
        for earlier in range(segment):
            versions = [e for s, k, e in there if s == sample and k == earlier and e <= evaluation]
            if not versions:
                return None
            ages.append(evaluation - self._draw(st.sampled_from(sorted(versions))))
        least = max(0, evaluation - known)
        foretold = self._draw(st.integers(least, max(least, min(evaluation, least + 1))))
        return Cell(segment, sample, evaluation, tuple(ages), foretold)


def with_cell(schedule: Schedule, tick: int, stage: int, index: int, **changes: object) -> Schedule:
    """The schedule with one cell changed.

    Raises:
        ScheduleRefused: it can be carried out no more.
    """
    cells = list(schedule.ticks[tick][stage])
    cells[index] = replace(cells[index], **changes)  # type: ignore[arg-type]  # -- fields by name
    stages = list(schedule.ticks[tick])
    stages[stage] = tuple(cells)
    return replace(schedule, ticks=(*schedule.ticks[:tick], tuple(stages), *schedule.ticks[tick + 1 :]))
