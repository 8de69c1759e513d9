"""From a strategy and a captured graph to segments."""

from dataclasses import dataclass, replace

import torch

from ..errors import LayoutError
from ..graph.capture import Captured
from ..graph.hoisting import Hoisted
from ..strategy import AsyncStages
from .builders import asyncdiff
from .cut import Cut, best_cut
from .line import depending_on_the_latent, line
from .paths import cut_at
from .schedule import Schedule
from .seconds import Pace, seconds
from .segments import Segments, divide
from .workload import workload


@dataclass(frozen=True, eq=False)
class Division:
    """A denoiser in segments.

    Attributes:
        cut: where it is cut, and what that is predicted to take.
        segments: its parts.
    """

    cut: Cut
    segments: Segments


def division(captured: Captured, hoisted: Hoisted, strategy: AsyncStages, device: torch.device) -> Division:
    """Cuts the part of a graph that every evaluation runs, as a strategy wants it.

    Args:
        captured: the graph.
        hoisted: its parts.
        strategy: how many stages, and where they begin if that was said.
        device: where they will run.

    Raises:
        LayoutError: it cannot be cut so.
    """
    if strategy.stages == 1 and strategy.stride == 1:
        strategy = replace(strategy, cut="auto")
    laid = line(hoisted.latent, depending_on_the_latent(captured))
    pace = Pace.of(device, _dtype(hoisted))
    load = workload(laid, seconds(captured, pace))
    per_byte = pace.seconds_per_byte
    found = (
        best_cut(load, strategy.stages, period=strategy.stride, seconds_per_byte=per_byte)
        if strategy.cut == "auto"
        else cut_at(laid, load, strategy.cut, period=strategy.stride, seconds_per_byte=per_byte)
    )
    if found is None:
        raise LayoutError(
            f"The denoiser can be cut at {len(load.boundaries)} places, which is too few for {strategy.stages} stages. "
            f"Ask for fewer."
        )
    return Division(found, divide(laid, found.boundaries))


def timetable(strategy: AsyncStages, cut: Cut, evaluations: int) -> Schedule:
    """The schedule of one sample."""
    return asyncdiff(
        strategy.stages,
        evaluations,
        stride=strategy.stride,
        warmup=strategy.warmup,
        exact_tail=strategy.exact_tail,
        circular=cut.circular,
    )


def _dtype(hoisted: Hoisted) -> torch.dtype:
    """In which most of the work is done: that of the largest output."""
    graph = hoisted.latent.module.graph
    values = [node.meta["val"] for node in graph.output_node().all_input_nodes]
    largest = max(values, key=lambda value: int(value.numel()))
    dtype: torch.dtype = largest.dtype
    return dtype
