"""A hoisted graph that answers requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..request import Visit
from .capture import Captured
from .hoisting import Hoisted
from .kept import Kept
from .lowering import Lower, Lowered
from .parts import Part


@dataclass(frozen=True)
class Reuse:
    """How often a program made values and how often it took those that it had.

    Attributes:
        generations_made, generations_reused: sets of what depends on prompt, size or mask.
        evaluations_made, evaluations_reused: sets of what depends on the timestep.
        held_bytes: memory of the values that are kept now, and of what they were made from.
    """

    generations_made: int
    generations_reused: int
    evaluations_made: int
    evaluations_reused: int
    held_bytes: int


class Program:
    """A graph that makes again only what may have changed.

    Constants are made at once. Values of a generation and of an evaluation are kept while the tensors that they were
    made from are proven unchanged (`kept.recognised`), for several generations and evaluations at a time: guidance
    branches and rows take turns within an evaluation, and a timestep comes again where a foretold evaluation was turned
    down. What is not proven is made again, so the answer is always that of the whole graph.

    To make the evaluation values of all timesteps at once, before the loop, the program would have to be told the
    timesteps of a generation (`Timesteps.arguments` knows them), and to batch them it would have to accept other last
    bits, for a product of one row and of fifty add up in different orders.

    Args:
        captured: the graph.
        hoisted: the graph in parts.
        lower: makes a part ready; what that gives is kept from call to call, so it must not be overwritten by the next.

    Attributes:
        report: what was hoisted.
        lasting: what is read of weights, and of what follows from them alone, by name.
    """

    def __init__(self, captured: Captured, hoisted: Hoisted, lower: Lower) -> None:
        self.report = hoisted.report
        self._names = tuple(captured.inputs)
        self._tree = captured.tree
        self._outputs = hoisted.outputs
        self._given = {name: place for place, name in enumerate(hoisted.latent.gives)}
        self._kept = Kept(hoisted.budget_bytes)
        lasting: dict[str, Tensor] = dict(captured.weights)
        with _plain():
            lasting |= Bound(hoisted.constants, lower, lasting).run(lasting)
        read = {
            name for part in (hoisted.generation, hoisted.evaluation, hoisted.latent) for name in part.reads
        }
        lasting = {name: lasting[name] for name in lasting.keys() & read}
        self.lasting: Mapping[str, Tensor] = lasting
        self._generation = Bound(hoisted.generation, lower, lasting)
        self._evaluation = Bound(hoisted.evaluation, lower, lasting)
        self._latent = Bound(hoisted.latent, lower, lasting)

    @property
    def reuse(self) -> Reuse:
        """What was made and what was reused since the program was made."""
        made, reused = self._kept.made, self._kept.reused
        return Reuse(
            generations_made=made["generation"],
            generations_reused=reused["generation"],
            evaluations_made=made["evaluation"],
            evaluations_reused=reused["evaluation"],
            held_bytes=self._kept.held_bytes,
        )

    def __call__(self, tensors: Sequence[Tensor], visit: Visit | None = None) -> Any:  # noqa: ARG002 -- an Answer
        """The output for a request's tensors, in the order of the captured inputs; the same at every visit."""
        values = self.values(tensors)
        with _plain():
            made = self._latent(self._latent.picked(values))
        return self.output(made)

    def values(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the part that depends on the latent may read at an evaluation, by name, beside what lasts."""
        values: dict[str, Tensor] = dict(zip(self._names, tensors, strict=True))
        with _plain():
            values |= self._recalled("generation", self._generation, values)
            values |= self._recalled("evaluation", self._evaluation, values)
        self._kept.trim()
        return values

    def output(self, made: Sequence[Tensor]) -> Any:
        """The output of the request, from what the part that depends on the latent gives."""
        leaves = [
            (made[self._given[output]] if isinstance(output, str) else output) for output in self._outputs
        ]
        return pytree.tree_unflatten(leaves, self._tree)

    def forget(self) -> None:
        """Gives up every kept value."""
        self._kept.clear()

    def _recalled(self, kind: str, step: "Bound", values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not step.gives:
            return {}
        given = self._kept.recall(kind, step.picked(values), step)
        return dict(zip(step.gives, given, strict=True))


class Bound:
    """A part with the values that it always reads put in their places; lowered when it first runs.

    Attributes:
        gives: names of the values that it gives.
    """

    def __init__(self, part: Part, lower: Lower, lasting: Mapping[str, Tensor]) -> None:
        self.gives = part.gives
        self._part = part
        self._lower = lower
        self._lowered: Lowered | None = None
        self._values: list[Tensor | None] = [lasting.get(name) for name in part.reads]
        self._open = [(at, name) for at, name in enumerate(part.reads) if name not in lasting]

    def picked(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        """Those of the values that change from call to call, in order."""
        return [values[name] for _, name in self._open]

    def __call__(self, changing: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the part gives."""
        arguments = list(self._values)
        for (at, _), tensor in zip(self._open, changing, strict=True):
            arguments[at] = tensor
        if self._lowered is None:
            self._lowered = self._lower(self._part, arguments)  # type: ignore[arg-type]  # -- every place is filled
        return tuple(self._lowered(*arguments))

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the part gives, by name."""
        if not self.gives:
            return {}
        return dict(zip(self.gives, self(self.picked(values)), strict=True))


def _plain() -> torch.no_grad:
    """Nothing is recorded for gradients."""
    return torch.no_grad()
