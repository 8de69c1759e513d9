"""What makes a schedule one that can be carried out."""

from collections.abc import Sequence

from ..errors import ScheduleRefused
from .schedule_cells import Extent, Tick, Value, Work


def check(extent: Extent, ticks: Sequence[Tick]) -> None:
    """Goes through a schedule as those who carry it out would.

    Raises:
        ScheduleRefused: something is read before it is there, made twice or never, or made where it does not belong;
            the sentence says at which tick and stage.
    """
    _check_extent(extent, ticks)
    made: dict[Value, Work] = {}
    predictions = [0] * extent.samples
    for tick, stages in enumerate(ticks):
        before = tuple(predictions)
        for stage, cells in enumerate(stages):
            for cell in cells:
                work = Work(tick, stage, cell)
                _check_place(extent, work)
                _check_reads(work, made)
                _check_latent(work, before[cell.sample])
                if cell.value in made:
                    raise _refusal(
                        work, f"makes it a second time; the first was at tick {made[cell.value].tick}"
                    )
                made[cell.value] = work
                if cell.segment == extent.segments - 1:
                    _check_order(work, before[cell.sample])
                    predictions[cell.sample] += 1
    for sample, reached in enumerate(predictions):
        if reached < extent.evaluations:
            raise ScheduleRefused(
                f"No stage makes the prediction of evaluation {reached}, sample {sample}: segment "
                f"{extent.segments - 1} of it is never computed."
            )


def _check_extent(extent: Extent, ticks: Sequence[Tick]) -> None:
    counts = {
        "stages": extent.stages,
        "segments": extent.segments,
        "samples": extent.samples,
        "evaluations": extent.evaluations,
    }
    for name, count in counts.items():
        if count < 1:
            raise ScheduleRefused(f"A schedule has at least 1 of {name}; this one has {count}.")
    if extent.stages > 1 and extent.segments - extent.stages not in (0, 1):
        raise ScheduleRefused(
            f"{extent.stages} stages own {extent.stages} segments in a chain or {extent.stages + 1} in a circle, "
            f"not {extent.segments}."
        )
    for tick, stages in enumerate(ticks):
        if len(stages) != extent.stages:
            raise ScheduleRefused(
                f"Tick {tick} says what {len(stages)} stages do; there are {extent.stages}."
            )


def _check_place(extent: Extent, work: Work) -> None:
    cell = work.cell
    if not 0 <= cell.segment < extent.segments:
        raise _refusal(work, f"computes a segment that is not there; there are {extent.segments}")
    if extent.stage_of(cell.segment) != work.stage:
        raise _refusal(work, f"computes a segment that belongs to stage {extent.stage_of(cell.segment)}")
    if not 0 <= cell.sample < extent.samples:
        raise _refusal(work, f"computes a sample that is not there; there are {extent.samples}")
    if not 0 <= cell.evaluation < extent.evaluations:
        raise _refusal(work, f"computes an evaluation that is not there; there are {extent.evaluations}")
    if len(cell.ages) != cell.segment:
        raise _refusal(work, f"gives {len(cell.ages)} ages for {cell.segment} earlier segments")
    if cell.ages and not 0 <= min(cell.ages) <= max(cell.ages) <= cell.evaluation:
        raise _refusal(
            work, f"reads ages {cell.ages}, which reach outside evaluations 0 to {cell.evaluation}"
        )
    if not 0 <= cell.foretold <= cell.evaluation:
        raise _refusal(work, f"reads a latent foretold over {cell.foretold} evaluations")


def _check_reads(work: Work, made: dict[Value, Work]) -> None:
    for value in work.cell.reads:
        source = made.get(value)
        if source is None:
            raise _refusal(work, f"misses segment {value.segment} of evaluation {value.evaluation}")
        if source.tick == work.tick and source.stage != work.stage:
            raise _refusal(
                work,
                f"misses segment {value.segment} of evaluation {value.evaluation}, which stage {source.stage} makes at "
                f"the same tick and can hand on at its end",
            )


def _check_latent(work: Work, known: int) -> None:
    """`known`: the evaluation whose true latent is the last to be there, which is the number of predictions."""
    cell = work.cell
    needed = cell.evaluation - cell.foretold
    if known < needed:
        latent = f"foretold over {cell.foretold}" if cell.foretold else "true"
        raise _refusal(work, f"misses its {latent} latent: evaluation {needed - 1} has no prediction yet")


def _check_order(work: Work, predictions: int) -> None:
    if work.cell.evaluation != predictions:
        raise _refusal(work, f"makes a prediction out of order: evaluation {predictions} is next")


def _refusal(work: Work, what: str) -> ScheduleRefused:
    cell = work.cell
    return ScheduleRefused(
        f"At tick {work.tick}, stage {work.stage}, segment {cell.segment} of evaluation {cell.evaluation} (sample "
        f"{cell.sample}) {what}."
    )
