"""Schedules of the published and the proposed methods."""

from collections.abc import Iterator, Sequence

from ..errors import LayoutError
from .schedule import Cell, Schedule, Tick


def asyncdiff(
    stages: int,
    evaluations: int,
    *,
    stride: int = 1,
    warmup: int = 1,
    exact_tail: int = 0,
    circular: bool = True,
) -> Schedule:
    """Parts of one evaluation at the same time, each on what the parts before it gave an evaluation ago.

    An exact evaluation goes through all segments, a tick each. Any other one is a single tick. The shell, the stage
    that makes the prediction, then computes from the true latent and from what the other stages gave by the end of
    the tick before; these compute at every `stride`-th such evaluation, and what they gave stands until the next.

    One stage with a stride has a segment between head and tail that it refreshes at every `stride`-th evaluation, as
    X. Ma et al.: DeepCache, CVPR 2024, does.

    Source: Z. Chen et al.: AsyncDiff, NeurIPS 2024, sections 3.2 and 3.3.

    Args:
        stages: ranks that share an evaluation.
        evaluations: of the sample.
        stride: evaluations from one refresh of all stages but the shell to the next.
        warmup: exact evaluations at the start, at least 1.
        exact_tail: exact evaluations at the end.
        circular: the shell owns the first and the last segment; else the last one alone, and it is the last stage.

    Raises:
        LayoutError: a count is too small.
    """
    _at_least("stages", stages, 1)
    _at_least("stride", stride, 1)
    _check_run(evaluations, warmup, exact_tail, least=1)
    segments = stages + 1 if circular else stages
    if circular and stages == 1 and stride > 1:
        segments = 3
    owners = [segment % stages for segment in range(segments)]
    tail = segments - 1
    shell = {0, tail} if circular else {tail}
    ticks: list[Tick] = []
    made = [0] * segments
    for evaluation in range(evaluations):
        since = evaluation - warmup
        if since < 0 or evaluation >= evaluations - exact_tail:
            ticks += _one_by_one(stages, owners, evaluation)
            made = [evaluation] * segments
            continue
        refreshed = shell if since % stride else set(range(segments))
        before, made = made, [evaluation if s in refreshed else made[s] for s in range(segments)]
        ticks.append(_at_once(stages, owners, evaluation, before, made))
    return Schedule(stages, segments, 1, evaluations, tuple(ticks))


def lookahead(stages: int, evaluations: int, *, warmup: int = 3, exact_tail: int = 2) -> Schedule:
    """Parts of several evaluations of one sample at the same time: a pipeline in which nothing is old.

    While the last stage finishes evaluation i, the first one begins i + stages - 1, on a latent that is foretold from
    those that are there. What a later segment reads of earlier ones is of its own evaluation and waits for it.

    Args:
        stages: ranks that share the denoiser, one segment each.
        evaluations: of the sample.
        warmup: exact evaluations at the start, at least 2, since a latent is foretold from two true ones.
        exact_tail: exact evaluations at the end.

    Raises:
        LayoutError: a count is too small.
    """
    return samples_in_flight(stages, 1, evaluations, warmup=warmup, exact_tail=exact_tail)


def samples_in_flight(
    stages: int, samples: int, evaluations: int, *, warmup: int = 2, exact_tail: int = 0
) -> Schedule:
    """Several samples through one pipeline of stages, which begin their evaluations in turn.

    With as many samples as stages nothing is foretold, and every stage is at work from the first fill to the last
    drain. With fewer, a stage that would wait begins the next evaluation of a sample on a foretold latent.

    Args:
        stages: ranks that share the denoiser, one segment each.
        samples: in flight together.
        evaluations: of each sample.
        warmup: exact evaluations of each at the start, at least 2, since a latent is foretold from two true ones.
        exact_tail: exact evaluations of each at the end.

    Raises:
        LayoutError: a count is too small.
    """
    _at_least("stages", stages, 1)
    _at_least("samples", samples, 1)
    _check_run(evaluations, warmup, exact_tail, least=2 if samples < stages else 1)
    begun: list[list[int]] = [[] for _ in range(samples)]  # the ticks at which each sample's evaluations do
    cells: dict[tuple[int, int], Cell] = {}
    tick = 0
    for evaluation in range(evaluations):
        exact = evaluation < warmup or evaluation >= evaluations - exact_tail
        for sample, earlier in enumerate(begun):
            if exact and earlier:
                tick = max(tick, earlier[-1] + stages)
            foretold = sum(at + stages > tick for at in earlier)
            for segment in range(stages):
                cells[tick + segment, segment] = Cell(segment, sample, evaluation, (0,) * segment, foretold)
            earlier.append(tick)
            tick += 1
    ticks = tuple(
        tuple((cells[at, stage],) if (at, stage) in cells else () for stage in range(stages))
        for at in range(tick - 1 + stages)
    )
    return Schedule(stages, stages, samples, evaluations, ticks)


def _one_by_one(stages: int, owners: Sequence[int], evaluation: int) -> Iterator[Tick]:
    """An evaluation through all segments in turn."""
    for segment, owner in enumerate(owners):
        cell = Cell(segment, 0, evaluation, (0,) * segment)
        yield tuple((cell,) if stage == owner else () for stage in range(stages))


def _at_once(
    stages: int, owners: Sequence[int], evaluation: int, before: Sequence[int], made: Sequence[int]
) -> Tick:
    """An evaluation in one tick.

    Args:
        stages: how many there are.
        owners: the stage of each segment.
        evaluation: which one.
        before: at which evaluation each segment was last made by the end of the tick before.
        made: the same at the end of this one; a segment that is not this evaluation's is not computed.
    """
    work: list[list[Cell]] = [[] for _ in range(stages)]
    for segment, owner in enumerate(owners):
        if made[segment] == evaluation:
            own = (
                made[earlier] if owners[earlier] == owner else before[earlier] for earlier in range(segment)
            )
            work[owner].append(Cell(segment, 0, evaluation, tuple(evaluation - at for at in own)))
    return tuple(map(tuple, work))


def _check_run(evaluations: int, warmup: int, exact_tail: int, *, least: int) -> None:
    _at_least("evaluations", evaluations, 1)
    if warmup < least:
        why = (
            "a latent is foretold from two true ones"
            if least == 2
            else "the first evaluation is always exact"
        )
        raise LayoutError(f"warmup is {warmup}; {why}, so it is at least {least}.")
    _at_least("exact_tail", exact_tail, 0)


def _at_least(name: str, count: int, least: int) -> None:
    if count < least:
        raise LayoutError(f"{name} is {count}; it is at least {least}.")
