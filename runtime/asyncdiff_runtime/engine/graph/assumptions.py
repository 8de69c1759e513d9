"""What has to hold of a request's tensors for a graph to serve it, where its modules went by their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.fx import Graph, Node

from ..errors import CaptureRefused
from .aliases import aliases
from .crossing import leading_to
from .host_values import HostValue
from .kept import Kept
from .parts import Part, extract

_HELD_BYTES: Final = 64 << 20


@dataclass(frozen=True, eq=False)
class Assumptions:
    """Values that a graph has taken for constants.

    Each follows from those before it and from the tensors alone, so where all are the same, the modules would go the
    way that the graph went.

    Attributes:
        values: the constants.
        places: where the modules read them, for messages.
        part: makes tensors of them again; None where there are none.
        lasting: weights among what the part reads, by name.
        inputs: places among a request's tensors of the others, by name.
    """

    values: tuple[HostValue, ...] = ()
    places: tuple[str, ...] = ()
    part: Part | None = None
    lasting: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Mapping[str, int] = field(default_factory=dict)
    _kept: Kept = field(default_factory=lambda: Kept(_HELD_BYTES), init=False)

    @classmethod
    def of(
        cls,
        graph: Graph,
        assumed: Mapping[Node, tuple[HostValue, str]],
        weights: Mapping[str, Tensor],
        inputs: Sequence[str],
    ) -> "Assumptions":
        """Those of a captured graph.

        Args:
            graph: the graph.
            assumed: by node, the value that was assumed and where.
            weights: by placeholder.
            inputs: the other placeholders, in the order of the request's tensors.
        """
        if not assumed:
            return cls()
        shared = aliases(graph)
        nodes = {*assumed, *leading_to(assumed.keys(), shared)}
        part = extract(graph, {node for node in nodes if node.op != "placeholder"}, tuple(assumed))
        values, places = zip(*assumed.values(), strict=True)
        return cls(
            values,
            places,
            part,
            {name: weights[name] for name in part.reads if name in weights},
            {name: inputs.index(name) for name in part.reads if name not in weights},
        )

    def hold(self, tensors: Sequence[Tensor]) -> bool:
        """Whether a request's tensors have these values; waits for their device where they are not proven the same."""
        if self.part is None:
            return True
        try:
            made = self._kept.recall("assumed", [tensors[at] for at in self.inputs.values()], self._made)
        except (
            RuntimeError,
            IndexError,
            ValueError,
        ):  # the way of other values, where these have other shapes
            return False
        self._kept.trim()
        return all(map(_equals, made, self.values))

    def check(self, tensors: Sequence[Tensor]) -> None:
        """Makes sure that the graph makes the values that its modules took, of the very tensors that these had.

        Raises:
            CaptureRefused: it makes others; the message names where they are read.
        """
        if not self.hold(tensors):
            raise CaptureRefused(
                f"The denoiser cannot be captured as a graph at {self.places[0]}: the values that it goes by are "
                f"others when it is captured than when it runs."
            )

    def _made(self, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        assert self.part is not None
        values: dict[str, Any] = {**self.lasting, **dict(zip(self.inputs, given, strict=True))}
        with torch.no_grad():
            return tuple(made.cpu() for made in self.part.module(*(values[name] for name in self.part.reads)))


def _equals(made: Tensor, value: HostValue) -> bool:
    return HostValue.of(made) == value
