"""Any schedule is carried out: pipelines of samples are exact, foretold latents are those that were said to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.lowering import eager
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead, samples_in_flight
from asyncdiff_runtime.engine.stages.cell import BoundSegments, Store, Values
from asyncdiff_runtime.engine.stages.line import depending_on_the_latent, line
from asyncdiff_runtime.engine.stages.progress import AtHome, Prediction, Progress
from asyncdiff_runtime.engine.stages.schedule import Cell, Schedule, Value
from asyncdiff_runtime.engine.stages.segments import divide
from asyncdiff_runtime.engine.stages.simulate import simulate
from hypothesis import given, settings
from support.graphs import Ruled, captured, inputs
from support.requests import tensor
from support.schedules import arbitrary
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

STEPS = 7


def deep(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Five layers with a skip over all of them."""
    hidden = x
    for _ in range(5):
        hidden = torch.tanh(functional.linear(hidden, net.weight) + t / 1000 + text)
    return hidden + x


@dataclass(frozen=True)
class Staged:
    """A graph in some number of segments, and whole."""

    program: Program
    bound: BoundSegments

    @classmethod
    def of(cls, segments: int) -> "Staged":
        graph = captured(deep)
        hoisted = hoist(graph, 1 << 30)
        laid = line(hoisted.latent, depending_on_the_latent(graph))
        boundaries = [laid.boundaries[len(laid.boundaries) * at // segments] for at in range(1, segments)]
        program = Program(graph, hoisted, eager)
        return cls(program, BoundSegments(divide(laid, boundaries), program.lasting, eager))


@dataclass
class Euler:
    """A step along the prediction; what is foretold goes on in a straight line."""

    program: Program
    samples: int
    text: Tensor = field(default_factory=lambda: inputs()[2])

    def __post_init__(self) -> None:
        self.latents = [[tensor(sample, 2, 40)] for sample in range(self.samples)]

    def given(self, latent: Tensor, evaluation: int) -> list[Tensor]:
        return [latent, torch.tensor(900.0 - evaluation), self.text]

    def latent(self, cell: Cell) -> Tensor:
        known = self.latents[cell.sample][: cell.evaluation - cell.foretold + 1]
        if not cell.foretold:
            return known[cell.evaluation]
        return known[-1] + cell.foretold * (known[-1] - known[-2])

    def inputs(self, cell: Cell) -> Mapping[str, Tensor]:
        return self.program.values(self.given(self.latent(cell), cell.evaluation))

    def step(self, sample: int, evaluation: int, prediction: Prediction) -> None:
        assert len(self.latents[sample]) == evaluation + 1
        self.latents[sample].append(self.latents[sample][-1] - 0.1 * prediction[0])


def at_once(schedule: Schedule, program: Program) -> Euler:
    """The same latents from the whole graph: each evaluation on the latent that its cells say they read."""
    sampler = Euler(program, schedule.samples)
    last = schedule.segments - 1
    cells = [work.cell for work in schedule.work if work.cell.segment == last]
    for cell in cells:
        (prediction,) = pytree.tree_leaves(program(sampler.given(sampler.latent(cell), cell.evaluation)))
        sampler.step(cell.sample, cell.evaluation, (prediction,))
    return sampler


@pytest.fixture(scope="module")
def divided() -> dict[int, Staged]:
    """By number of segments."""
    return {segments: Staged.of(segments) for segments in range(1, 6)}


@pytest.mark.parametrize(
    "schedule",
    [
        lookahead(3, STEPS),
        samples_in_flight(3, 3, STEPS),
        samples_in_flight(4, 2, STEPS),
        lookahead(2, STEPS),
    ],
    ids=["lookahead", "a full pipeline", "half a pipeline", "lookahead by two"],
)
def test_a_pipeline_of_stages_gives_what_the_whole_graph_gives(
    divided: dict[int, Staged], schedule: Schedule
) -> None:
    staged = divided[schedule.segments]
    sampler = Euler(staged.program, schedule.samples)
    simulate(schedule, staged.bound, sampler)
    whole = at_once(schedule, staged.program)
    for ours, theirs in zip(sampler.latents, whole.latents, strict=True):
        assert len(ours) == STEPS + 1
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@dataclass
class Brought:
    """Brings what another run made; notes what this one makes."""

    made: dict[Value, Values] = field(default_factory=dict)

    def collect(self, cell: Cell, store: Store) -> None:
        for value in cell.reads:
            if value not in store:
                store[value] = self.made[value]

    def exchange(self, tick: int, store: Store) -> None:  # noqa: ARG002 -- a Post's
        self.made |= store

    def settle(self) -> None:
        """Nothing is on its way."""


@pytest.mark.parametrize(
    "schedule",
    [asyncdiff(3, STEPS, stride=2, warmup=2, exact_tail=1), samples_in_flight(3, 2, STEPS)],
    ids=["a circle with a stride", "two samples in a chain"],
)
def test_a_stage_holds_nothing_that_it_will_not_read_again(
    divided: dict[int, Staged], schedule: Schedule
) -> None:
    staged, brought = divided[schedule.segments], Brought()
    sampler = Euler(staged.program, schedule.samples)
    together = Progress(schedule, range(schedule.stages), staged.bound, brought)
    while not together.finished:
        for cell, prediction in together.tick(lambda cell: sampler.inputs(_with_true_latent(cell))).items():
            sampler.step(cell.sample, cell.evaluation, prediction)
    for stage in range(schedule.stages):
        alone = Progress(schedule, [stage], staged.bound, Brought(brought.made))
        for tick in range(len(schedule.ticks)):
            alone.tick(lambda cell: sampler.inputs(_with_true_latent(cell)))
            alone.check()
            assert all((schedule.last_read(value, stage) or 0) > tick for value in alone.store)


@settings(max_examples=30, deadline=None)
@given(schedule=arbitrary())
def test_whatever_can_be_carried_out_is_and_leaves_nothing_behind(
    divided: dict[int, Staged], schedule: Schedule
) -> None:
    staged = divided[schedule.segments]
    sampler = Euler(staged.program, schedule.samples)
    progress = Progress(schedule, range(schedule.stages), staged.bound, AtHome())
    while not progress.finished:
        for cell, prediction in progress.tick(lambda cell: sampler.inputs(_with_true_latent(cell))).items():
            sampler.step(cell.sample, cell.evaluation, prediction)
    progress.check()
    assert not progress.store
    assert all(len(latents) == schedule.evaluations + 1 for latents in sampler.latents)


def _with_true_latent(cell: Cell) -> Cell:
    return Cell(cell.segment, cell.sample, max(0, cell.evaluation - cell.foretold), cell.ages)
