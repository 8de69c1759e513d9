"""From a strategy and a captured graph to segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import torch

from ..errors import LayoutError
from ..graph.capture import Captured
from ..graph.hoisting import Hoisted
from ..strategy import AsyncStages
from .builders import asyncdiff
from .cut import Cut, best_cut
from .line import Line, depending_on_the_latent, line
from .origins import held, origins
from .paths import cut_at
from .schedule import Schedule
from .seconds import Pace, seconds
from .segments import Segments, divide
from .workload import Workload, workload

UNEVEN = 0.1
"""Of all weights: by how much the share of a stage may exceed an even one."""
_MORE = (2 * UNEVEN, 4 * UNEVEN, inf)
"""What is tried after that: small models may have nearly all of their weights in one place, or where all stages read
them."""


@dataclass(frozen=True, eq=False)
class Division:
    """A denoiser in segments.

    Attributes:
        cut: where it is cut, and what that is predicted to take.
        segments: its parts.
        operations: in the order in which the line has them.
    """

    cut: Cut
    segments: Segments
    operations: tuple[str, ...]


def division(
    captured: Captured,
    hoisted: Hoisted,
    strategy: AsyncStages,
    device: torch.device,
    known: Sequence[Division] = (),
) -> Division:
    """Cuts the part of a graph that every evaluation runs, as a strategy wants it.

    Args:
        captured: the graph.
        hoisted: its parts.
        strategy: how many stages, and where they begin if that was said.
        device: where they will run.
        known: of the same denoiser's graphs for other requests; one that has the same operations is cut at the same
            places, so that a stage reads the same weights.

    Raises:
        LayoutError: it cannot be cut so.
    """
    if strategy.stages == 1 and strategy.stride == 1:
        strategy = replace(strategy, cut="auto")
    laid = line(hoisted.latent, depending_on_the_latent(captured))
    operations = tuple(str(node.target) for node in laid.owned)
    for other in known:
        if other.operations == operations:
            return replace(other, segments=divide(laid, other.cut.boundaries))
    pace = Pace.of(device, _dtype(hoisted))
    load = workload(laid, seconds(captured, pace))
    if strategy.sharded:
        load = replace(load, weights=held(captured, laid, origins(captured, hoisted)))
    found = chosen(laid, load, strategy, pace.seconds_per_byte)
    return Division(found, divide(laid, found.boundaries), operations)


def chosen(laid: Line, load: Workload, strategy: AsyncStages, seconds_per_byte: float) -> Cut:
    """The cut that a strategy wants.

    Args:
        laid: what is cut.
        load: its numbers.
        strategy: how many stages, and where they begin if that was said.
        seconds_per_byte: of a link between two stages.

    Raises:
        LayoutError: there is none.
    """
    if strategy.cut != "auto":
        return cut_at(laid, load, strategy.cut, period=strategy.stride, seconds_per_byte=seconds_per_byte)
    whole = sum(weight.bytes for weight in load.weights)
    for uneven in (UNEVEN, *_MORE) if strategy.sharded else (inf,):
        found = best_cut(
            load,
            strategy.stages,
            period=strategy.stride,
            seconds_per_byte=seconds_per_byte,
            most_weight_bytes=whole * (1 / strategy.stages + uneven) if uneven < inf else inf,
        )
        if found is not None:
            return found
    raise LayoutError(
        f"The denoiser can be cut at {len(load.boundaries)} places, which is too few for {strategy.stages} stages. "
        f"Ask for fewer."
    )


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
