"""A segment computed once: the one function that simulator and executor share."""

from collections.abc import Collection, Mapping, MutableMapping

from torch import Tensor

from ..graph.lowering import Lower
from ..graph.program import Bound
from .schedule import Cell, Value
from .segments import Segments

Values = Mapping[str, Tensor]
"""Tensors by name."""

Store = MutableMapping[Value, Values]
"""What segments gave, by version."""


class BoundSegments:
    """Segments with the values that they always read; each is lowered when it first runs.

    Args:
        segments: what to run.
        lasting: weights and what follows from them alone, by name.
        lower: makes a segment ready.
    """

    def __init__(self, segments: Segments, lasting: Values, lower: Lower) -> None:
        self.segments = segments
        self._lasting = lasting
        self._bound = [Bound(part, lower, lasting) for part in segments.parts]

    def rehearse(self, segments: Collection[int], inputs: Values) -> None:
        """Runs some segments once, on values as the others would give, so that each is lowered; gives nothing.

        All segments are run operation by operation for that: what is compiled here need not wait for what is compiled
        elsewhere.
        """
        made: dict[str, Tensor] = {}
        for at, part in enumerate(self.segments.parts):
            values = {**inputs, **made}
            reads = [self._lasting.get(name, values.get(name)) for name in part.reads]
            given = part.module(*reads)
            if at in segments:
                self(at, values)
            made |= dict(zip(part.gives, given, strict=True))

    def __call__(self, segment: int, values: Values) -> dict[str, Tensor]:
        """What a segment gives, by name."""
        step = self._bound[segment]
        return dict(zip(step.gives, step(step.picked(values)), strict=True))


def run_cell(
    cell: Cell, bound: BoundSegments, store: Mapping[Value, Values], inputs: Values
) -> dict[str, Tensor]:
    """What a cell makes.

    Args:
        cell: what to compute, and which versions of earlier segments it reads.
        bound: the segments.
        store: those versions.
        inputs: the latent, and what depends on it no more than the timestep does.
    """
    versions = {value.segment: value for value in cell.reads}
    handed = {
        name: store[versions[source]][name] for name, source in bound.segments.sources[cell.segment].items()
    }
    return bound(cell.segment, {**inputs, **handed})
