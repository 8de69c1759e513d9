"""What becomes of a denoiser class when it is captured, as users of the engine would see it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import torch
from asyncdiff_runtime.engine.call import Call, Parameters
from asyncdiff_runtime.engine.errors import EngineError
from asyncdiff_runtime.engine.graph.capture import Captured
from asyncdiff_runtime.engine.graph.hoisting_report import HoistingReport
from asyncdiff_runtime.engine.graph.lowerings import lowering_for
from asyncdiff_runtime.engine.graph.options import Lowering
from asyncdiff_runtime.engine.graph.preparation import prepared
from asyncdiff_runtime.engine.graph.programs import Answer, Programs
from asyncdiff_runtime.engine.report import Tally
from asyncdiff_runtime.engine.request import Request, Visit
from asyncdiff_runtime.engine.split import difference
from torch import Tensor
from torch.utils import _pytree as pytree

from support.denoisers.row import Example, TinyDenoiser
from support.requests import tensor

_HELD_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Capturing:
    """What capturing a denoiser gave.

    Attributes:
        captured: there is a graph.
        equal: all evaluations were those of the modules, bit for bit.
        reason: why there is no graph, or none that is used; empty otherwise.
        assumed: places where the modules go by values of their prompt, which the graph takes for constants.
        nodes: operations in the graph.
        classes: figures by dependence: operations, those done again at each evaluation, FLOPs and their share.
    """

    captured: bool
    equal: bool
    reason: str = ""
    assumed: Sequence[str] = ()
    nodes: int = 0
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Compiling:
    """What compiling the part that every evaluation runs gave.

    Attributes:
        compiled: it was compiled, and its evaluations lie within rounding of those of the modules.
        distance: the largest relative distance that was seen.
        seconds: of a processor's time that capturing and compiling took.
        reason: why it is not used; empty otherwise.
    """

    compiled: bool
    distance: float = 0.0
    seconds: float = 0.0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def capturing(row: TinyDenoiser) -> Capturing:
    """Captures a denoiser and compares four evaluations, of two timesteps and two conditions."""
    seen = _Seen(Lowering.EAGER)
    reason = ""
    try:
        _generations(seen, _requests(row.example()))
    except EngineError as error:
        reason = str(error)
    if seen.report is None:
        return Capturing(captured=False, equal=False, reason=reason)
    return Capturing(
        captured=True,
        equal=not reason,
        reason=reason,
        assumed=seen.assumed,
        nodes=seen.nodes,
        classes=_figures(seen.report),
    )


def compiling(row: TinyDenoiser) -> Compiling:
    """Compiles a denoiser by inductor and compares the same evaluations."""
    seen = _Seen(Lowering.INDUCTOR)
    requests = _requests(row.example())
    started = _processor_seconds()
    with _warnings() as warnings:
        try:
            apart = _generations(seen, requests)
        except EngineError as error:
            return Compiling(compiled=False, reason=str(error))
    seconds = round(_processor_seconds() - started, 1)
    return Compiling(compiled=not warnings, distance=apart, seconds=seconds, reason=" ".join(warnings))


def unread(example: Example) -> tuple[str, ...]:
    """Names of the floating-point arguments that the output does not depend on."""
    with torch.no_grad():
        expected = example.module(**example.arguments)
        return tuple(
            name
            for name, value in example.arguments.items()
            if _moved(value) is not None
            and difference(example.module(**{**example.arguments, name: _moved(value)}), expected) == 0.0
        )


class _Seen:
    """Prepares programs, and notes what there was to see.

    Attributes:
        answer: what a program gave last; Programs answer by the modules where they compare the two.
    """

    def __init__(self, how: Lowering) -> None:
        self._lowerings = lowering_for(torch.device("cpu"), how, cache=None)
        self.exact = self._lowerings.exact
        self.assumed: tuple[str, ...] = ()
        self.nodes = 0
        self.report: HoistingReport | None = None
        self.answer: Any = None

    def __call__(self, captured: Captured) -> Answer:
        program = prepared(captured, self._lowerings, _HELD_BYTES)
        self.assumed = tuple(dict.fromkeys(captured.assumptions.places))
        self.nodes = sum(node.op == "call_function" for node in captured.graph.graph.nodes)
        self.report = program.report

        def noted(tensors: Sequence[Tensor], visit: Visit | None) -> Any:
            self.answer = program(tensors, visit)
            return self.answer

        return noted


def _generations(seen: _Seen, requests: Sequence[Request]) -> float:
    """Answers two generations of two requests each; gives the largest distance of programs to modules.

    Raises:
        EngineError: there is no program, or it does not give what the modules give.
    """
    programs = Programs(seen, exact=seen.exact, strict=True)
    apart = []
    with torch.no_grad():
        for place, request in enumerate(requests):
            if place % 2 == 0:
                programs.begin(Tally(place // 2 + 1))
            answer = programs(request)
            expected = request.run()
            apart += [difference(answer, expected), difference(seen.answer, expected)]
    return max(apart)


def _requests(example: Example) -> list[Request]:
    """Two evaluations under one condition, and two under another.

    Raises:
        PipelineRefused: the engine knows no latent or timestep among the arguments.
    """
    forward = example.module.forward
    call = Call.of(example.module, forward, Parameters.of(forward).named((), dict(example.arguments)))
    other = call.with_arguments({**pytree.tree_map(_exchanged(call.rows), dict(call.arguments))})
    return [Request(at) for each in (call, other) for at in (each, _later(each))]


def _later(call: Call) -> Call:
    """The call at another latent and an earlier timestep."""
    timestep = pytree.tree_map_only(Tensor, _earlier, call.timestep)
    return call.at(call.x.lerp(tensor(9, *call.x.shape).to(call.x.dtype), 0.5), timestep)


def _earlier(timestep: Tensor) -> Tensor:
    moved = (timestep - timestep.abs().clamp(max=1) / 2).to(timestep.dtype)
    return moved[:1].expand_as(timestep) if _expanded(timestep) else moved


def _expanded(value: Tensor) -> bool:
    """Whether its rows are one and the same memory; to a graph, memory that lies otherwise is another form."""
    return value.ndim > 0 and value.stride(0) == 0


def _exchanged(rows: int) -> Any:
    """Turns tensors with a row for each of the batch's upside down: the same values, another condition."""

    def exchanged(leaf: Any) -> Any:
        by_row = isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] == rows
        return leaf.flip(0) if by_row and not _expanded(leaf) else leaf

    return exchanged


def _moved(value: Any) -> Any:
    """A floating-point tensor, or nested ones, with other values; None if there are none."""
    found = [
        leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    if not found:
        return None
    return pytree.tree_map_only(
        Tensor, lambda leaf: leaf * 0.9 + 0.05 if leaf.is_floating_point() else leaf, value
    )


def _processor_seconds() -> float:
    """Of this process and of the compilers that it has run."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _figures(report: HoistingReport) -> dict[str, dict[str, float]]:
    names = ("operations", "again", "flops", "flops_share")
    classes: dict[str, Any] = report.as_json()["classes"]
    return {kind: {name: figures[name] for name in names} for kind, figures in classes.items()}


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the engine warns of meanwhile: a part that cannot be compiled runs eagerly, and is no error."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("asyncdiff_runtime")
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
