"""Small captured graphs, written down as a rule, and what runs them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from asyncdiff_runtime.engine.graph.capture import Captured, capture
from asyncdiff_runtime.engine.graph.dependence import Dependence, dependences
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.joint import tensors_of
from asyncdiff_runtime.engine.graph.lowering import eager
from asyncdiff_runtime.engine.graph.parts import Part
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.report import Tally
from asyncdiff_runtime.engine.request import Request
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from support.requests import request, tensor

WIDTH = 40
"""Of rows: two of them are too many numbers to be known by their values."""

Rule = Callable[["Ruled", Tensor, Tensor, Tensor], Any]
"""From module, latent `(2, WIDTH)`, timestep `()` and text `(2, WIDTH)` to the output."""


class Ruled(nn.Module):
    """A denoiser of one square weight that answers by a rule."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor(5, WIDTH, WIDTH) / WIDTH**0.5)
        self.rule = rule

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Any:
        return self.rule(self, sample, timestep, text)


def inputs(seed: int = 0) -> list[Tensor]:
    """Latent, timestep and text, in this order."""
    return [tensor(seed, 2, WIDTH), torch.tensor(900.0 - seed), tensor(100 + seed, 2, WIDTH)]


def asked(rule: Rule, given: Sequence[Tensor]) -> Request:
    """A request to a denoiser of that rule."""
    sample, timestep, text = given
    return request(Ruled(rule), sample=sample, timestep=timestep, text=text)


def captured(rule: Rule) -> Captured:
    """The graph of a rule."""
    return capture(asked(rule, inputs()))


def classes(graph: Captured) -> dict[str, Dependence]:
    """The class of each operation, by its name without overload: `sin`, `empty_like`; of several, the last's."""
    return {
        node.target._opname: kind
        for node, kind in dependences(graph).items()
        if hasattr(node.target, "_opname")
    }


def operations(part: Part) -> list[str]:
    """Names of the ATen operations of a part, in order."""
    return [node.target._opname for node in part.module.graph.nodes if hasattr(node.target, "_opname")]


def program(graph: Captured, budget_bytes: int = 1 << 30) -> Program:
    """A hoisted graph, ready to run."""
    return Program(graph, hoist(graph, budget_bytes), eager)


class Hoisting:
    """Answers requests by their hoisted graphs, and holds every answer against that of the modules."""

    def __init__(self, budget_bytes: int = 1 << 30) -> None:
        self.programs: dict[Any, Program] = {}
        self._budget_bytes = budget_bytes

    def begin(self, tally: Tally) -> None:
        """A generation begins."""

    def release(self) -> None:
        """Nothing is kept."""

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        output = request.run()
        key = (request.signature(), *(id(call.module) for call in request.calls))
        if key not in self.programs:
            self.programs[key] = program(capture(request), self._budget_bytes)
        hoisted = self.programs[key](tensors_of(request))
        for ours, theirs in zip(pytree.tree_leaves(hoisted), pytree.tree_leaves(output), strict=True):
            assert torch.equal(ours, theirs)
        return output

    plainly = __call__
