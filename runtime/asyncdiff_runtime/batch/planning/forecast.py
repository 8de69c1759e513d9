"""Seconds and pictures an hour, by GPU and by the way in which ranks share the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import Lookahead
from asyncdiff_api.parallelism import Strategy as Named

from asyncdiff_runtime.batch.evaluation import Evaluation, evaluation_of
from asyncdiff_runtime.batch.planning.figures import Figures
from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.engine import Data, Exact, LayoutError, Strategy
from asyncdiff_runtime.engine import Lookahead as EngineLookahead
from asyncdiff_runtime.engine.graph.cost import Cost
from asyncdiff_runtime.engine.graph.machines import Machine
from asyncdiff_runtime.engine.graph.roofline import COMPILED, EAGER, NOTHING, Span, predicted
from asyncdiff_runtime.engine.mesh import Layout
from asyncdiff_runtime.engine.split import divide

GATHER_SECONDS: Final = 50e-6
"""Of a gather of predictions among the ranks of a host, besides the bytes that travel; an assumption."""
CONTEXT_BYTES: Final = 10**9
"""Taken on each GPU by CUDA's context, libraries and work areas; an assumption."""


@dataclass(frozen=True)
class Way:
    """A way in which the GPUs of a pod may share the work.

    Attributes:
        strategy: as the engine has it.
        layout: over the pod's GPUs; of one rank alone for `Data`, where each makes items of its own.
        ranks: GPUs of the pod.
        evaluation: how the denoiser is evaluated; not compiled, each operation is started by itself.
        chosen: it is the job's.
    """

    strategy: Strategy
    layout: Layout
    ranks: int
    evaluation: Evaluation
    chosen: bool

    @property
    def name(self) -> str:
        """What it is called: `Lookahead 2 × guidance 2`."""
        name = type(self.strategy).__name__
        if isinstance(self.strategy, EngineLookahead):
            name = f"{name} {self.strategy.degree}"
        return f"{name} × guidance {self.layout.groups}" if self.layout.groups > 1 else name

    @property
    def captured(self) -> bool:
        """Whether the denoiser's graph is run in place of its modules."""
        return self.evaluation.capture is not None

    @property
    def kernels(self) -> str:
        """What runs on the GPU: `eager`, `compiled` or `captured`."""
        if self.captured:
            return "captured"
        return "compiled" if self.evaluation.compiles else "eager"

    @property
    def teams(self) -> int:
        """Batches that are made at the same time."""
        return self.ranks if isinstance(self.strategy, Data) else 1


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a GPU makes of a job in one way.

    Attributes:
        machine: the GPU.
        way: how the pod's GPUs share the work.
        before: seconds until the loop begins.
        loop: seconds of the loop; with a captured graph, also what it makes once a picture.
        after: seconds from the loop's end to pixels.
        evaluations: on the critical path, if every foretold evaluation is accepted.
        idle: GPUs without work, for want of rows.
        weights_bytes: on each GPU.
        working_bytes: on each GPU, most that is alive at once of what is computed, and what CUDA takes.
        batch: items of a batch.
        gain: how many times as fast an evaluation is by captured graphs as by compiled modules.
    """

    machine: Machine
    way: Way
    before: Span
    loop: Span
    after: Span
    evaluations: int
    idle: int
    weights_bytes: int
    working_bytes: int
    batch: int
    gain: float

    @property
    def seconds(self) -> Span:
        """From prompts to pixels of one batch."""
        return self.before + self.loop + self.after

    @property
    def items_per_hour(self) -> float:
        """Items of a pod, at the expected speed."""
        return 3600 * self.batch * self.way.teams / self.seconds.expected

    @property
    def fits(self) -> bool:
        """Whether weights and work fit the memory."""
        return self.weights_bytes + self.working_bytes <= self.machine.memory_bytes


def ways_of(job: AsyncDiffJob) -> tuple[Way, ...]:
    """The ways in which the pod's GPUs can share the work, the job's own among them.

    Raises:
        InvalidJobError: The job's own is none that this version runs, or does not fit its GPUs.
    """
    parallelism = job.spec.parallelism
    ranks = parallelism.gpus_per_pod
    chosen = Named(str(schedule_of(parallelism)["strategy"]))
    settings = parallelism.lookahead or Lookahead()
    lookahead = EngineLookahead(
        degree=settings.degree,
        tolerance=settings.tolerance,
        warmup=settings.warmup_steps,
        exact_tail=settings.exact_tail_steps,
    )
    together = evaluation_of(parallelism, together=True)
    alone = evaluation_of(parallelism, together=False)
    ways = [Way(Data(), Layout(1, 1, 1), ranks, alone, chosen=chosen is Named.DATA)]
    ways.append(Way(Exact(), Layout(1, ranks, ranks), ranks, together, chosen=False))
    try:
        layout = Layout.fit(degree=lookahead.degree, world=ranks, split="auto")
    except LayoutError as error:
        if chosen is Named.LOOKAHEAD:
            raise InvalidJobError(f"spec.parallelism: {error}") from error
        return tuple(ways)
    if ranks > 1 or chosen is Named.LOOKAHEAD:
        ways.append(Way(lookahead, layout, ranks, together, chosen=chosen is Named.LOOKAHEAD))
    return tuple(ways)


def forecasts(figures: Figures, machines: Sequence[Machine], ways: Sequence[Way]) -> Iterator[Forecast]:
    """What each machine makes of a job in each way.

    Raises:
        InvalidJobError: A machine does not compute in the job's dtype.
    """
    for machine in machines:
        for way in ways:
            try:
                yield _forecast(figures, machine, way)
            except KeyError as error:
                raise InvalidJobError(f"{error.args[0]}; choose another --dtype or --gpu") from error


def critical_path(figures: Figures, strategy: Strategy) -> int:
    """Evaluations one after the other, if every foretold one is accepted; as `Session` goes about it."""
    if not isinstance(strategy, EngineLookahead) or not figures.foreseeable:
        return figures.evaluations
    position = rounds = 0
    while position < figures.evaluations:
        remaining = figures.evaluations - strategy.exact_tail - position
        ahead = 1 if position < strategy.warmup else max(1, min(strategy.degree, remaining))
        position += ahead
        rounds += 1
    return rounds


def _forecast(figures: Figures, machine: Machine, way: Way) -> Forecast:
    dtype = getattr(torch, figures.dtype)
    # One rank alone works off all evaluations of a round itself.
    path = critical_path(figures, way.strategy) if way.layout.world > 1 else figures.evaluations
    evaluation = _evaluation(figures, machine, way, dtype)
    loop = evaluation.times(path, figures.evaluations)
    if way.captured:
        loop += _once(figures, machine, dtype)
    peaks = [figures.before.peak_bytes, figures.after.peak_bytes, _loop_peak(figures, way.layout.groups)]
    return Forecast(
        machine=machine,
        way=way,
        before=predicted(figures.before.operations, machine, dtype, EAGER),
        loop=loop,
        after=predicted(figures.after.operations, machine, dtype, EAGER),
        evaluations=path,
        idle=max(0, way.layout.groups - sum(figures.rows)) * way.layout.degree,
        weights_bytes=sum(figures.weights.values()),
        working_bytes=max(peaks) + CONTEXT_BYTES + (sum(figures.held_bytes.values()) if way.captured else 0),
        batch=figures.batch,
        gain=gain(figures, machine),
    )


def _evaluation(figures: Figures, machine: Machine, way: Way, dtype: torch.dtype) -> Span:
    """Seconds of one evaluation, on the rank that has most of it."""
    efficiency = COMPILED if way.evaluation.compiles else EAGER
    shares = divide(figures.rows, way.layout.groups, whole=False)
    slowest = NOTHING
    for parts in shares:
        costs: list[Cost] = []
        for part in parts:
            branch = figures.branches[part.request]
            whole = (
                branch.left
                if way.captured
                else branch.kernels
                if way.evaluation.compiles
                else branch.operations
            )
            costs += [cost.of_rows(part.stop - part.start, branch.rows) for cost in whole]
        slowest = max(slowest, predicted(costs, machine, dtype, efficiency), key=lambda span: span.expected)
    if way.layout.world == 1:
        return slowest
    gathered = sum(branch.prediction_bytes for branch in figures.branches) * way.layout.degree
    seconds = GATHER_SECONDS + gathered / machine.link
    return slowest + Span(seconds / 2, seconds, seconds * 2)


def _once(figures: Figures, machine: Machine, dtype: torch.dtype) -> Span:
    """Seconds of what captured graphs make once a picture; no rank has less of it for having fewer rows."""
    return predicted([cost for branch in figures.branches for cost in branch.once], machine, dtype, COMPILED)


def gain(figures: Figures, machine: Machine) -> float:
    """How many times as fast an evaluation is by captured graphs as by compiled modules, all of it on one GPU.

    Raises:
        KeyError: the machine does not compute in the figures' type.
    """
    dtype = getattr(torch, figures.dtype)
    whole = [cost for branch in figures.branches for cost in branch.kernels]
    left = [cost for branch in figures.branches for cost in branch.left]
    seconds = (predicted(costs, machine, dtype, COMPILED).expected for costs in (whole, left))
    return next(seconds) / next(seconds)


def _loop_peak(figures: Figures, groups: int) -> int:
    """Bytes of the values of a rank's largest call, its share of rows taken."""
    shares = divide(figures.rows, groups, whole=False)
    return max(
        figures.branches[part.request].peak_bytes
        * (part.stop - part.start)
        // figures.branches[part.request].rows
        for parts in shares
        for part in parts
    )
