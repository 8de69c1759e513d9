"""Graphs of the tiny pipelines' denoisers, with the requests that they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from asyncdiff_runtime.engine import Exact, parallelize
from asyncdiff_runtime.engine.graph.capture import Captured, capture
from asyncdiff_runtime.engine.graph.hoisting import Hoisted, hoist
from asyncdiff_runtime.engine.graph.joint import tensors_of
from asyncdiff_runtime.engine.graph.lowering import eager
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.report import Tally
from asyncdiff_runtime.engine.request import Request
from asyncdiff_runtime.engine.stages.line import Line, depending_on_the_latent, line
from torch import Tensor

from support.pipelines import tiny


class Recorder:
    """Answers requests by their modules and keeps them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def begin(self, tally: Tally) -> None:
        """A generation begins."""

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        self.requests.append(request)
        return request.run()

    plainly = __call__


@dataclass(frozen=True, eq=False)
class Graph:
    """A pipeline's denoiser as a hoisted graph.

    Attributes:
        captured: the graph.
        requests: what the pipeline asked, in order.
    """

    captured: Captured
    requests: tuple[Request, ...]

    @cached_property
    def hoisted(self) -> Hoisted:
        """The graph in parts."""
        return hoist(self.captured, 1 << 30)

    @cached_property
    def line(self) -> Line:
        """What every evaluation runs, to be cut."""
        return line(self.hoisted.latent, depending_on_the_latent(self.captured))

    @cached_property
    def program(self) -> Program:
        """The graph, ready to run."""
        return Program(self.captured, self.hoisted, eager)

    def tensors(self, request: int = 0) -> Sequence[Tensor]:
        """The tensors of a request."""
        return tensors_of(self.requests[request])


def graph_of(name: str, steps: int = 1) -> Graph:
    """The denoiser of a tiny pipeline; after a first companion's run, ControlNets are part of it."""
    row, recorder = tiny(name), Recorder()
    pipe = row.build()
    with parallelize(pipe, Exact()) as parallel:
        parallel._session.executor.evaluate = recorder
        row.result(pipe, steps=steps)
    with torch.no_grad():
        return Graph(capture(recorder.requests[-1]), tuple(recorder.requests))
