"""Boundaries that are named by modules, as published cuts are."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from torch.fx import Node

from ..errors import LayoutError
from .cut import Cut
from .line import Line
from .workload import Workload, stage_seconds

_ROOT = "denoiser."
"""What the captured graph calls the denoiser; companions have other names."""


def cut_at(
    line: Line, load: Workload, paths: Sequence[str], *, period: int = 1, seconds_per_byte: float = 0.0
) -> Cut:
    """The cut with a new segment at the first operation of each module.

    Where the first module is where the line begins, the cut is a chain; else a circle.

    Args:
        line: what is cut.
        load: its numbers, by which the stages' seconds are predicted.
        paths: of modules, as `up_blocks.1`, in the order in which they run.
        period: evaluations from one refresh of a stage other than the shell to the next.
        seconds_per_byte: of a link between two stages.

    Raises:
        LayoutError: a module is not in the graph or runs out of turn, or nothing can be cut before it.
    """
    places = first_places(line)
    for path in paths:
        if path not in places:
            raise LayoutError(
                f"cut names {path!r}, and nothing of the denoiser's that depends on the latent is there; the nearest "
                f"are {', '.join(nearest(path, places)) or 'none'}."
            )
    boundaries = [places[path] for path in paths]
    for one, other, before, after in zip(paths, paths[1:], boundaries, boundaries[1:], strict=False):
        if after <= before:
            raise LayoutError(
                f"cut names {one!r} before {other!r}, which begins no later: name them as they run."
            )
    for path, at in zip(paths, boundaries, strict=True):
        if not line.whole[at]:
            raise LayoutError(
                f"cut names {path!r}, whose first operation works on memory that earlier ones write to, so that they "
                f"cannot be apart: name a module before or after it."
            )
    circular = not boundaries or boundaries[0] > 0
    inner = tuple(boundaries if circular else boundaries[1:])
    seconds = stage_seconds(load, inner, circular=circular, period=period, seconds_per_byte=seconds_per_byte)
    return Cut(inner, circular, seconds)


def first_places(line: Line) -> Mapping[str, int]:
    """The place of each module's first operation, by the module's path in the denoiser; in the order of the line."""
    places: dict[str, int] = {}
    for node in line.owned:
        for path in _paths(node):
            names = path.split(".")
            for depth in range(1, len(names) + 1):
                places.setdefault(".".join(names[:depth]), line.place[node])
    return places


def path_at(line: Line, boundary: int) -> str:
    """The path of the innermost module that the operation behind a boundary is of."""
    return max(_paths(line.owned[boundary]), key=len, default="")


def nearest(path: str, known: Mapping[str, int]) -> list[str]:
    """Known paths that are much like another one."""
    return get_close_matches(path, known, n=3, cutoff=0.5)


def _paths(node: Node) -> list[str]:
    stack = node.meta.get("nn_module_stack") or {}
    return [path.removeprefix(_ROOT) for path, _ in stack.values() if path and path != _ROOT.rstrip(".")]
