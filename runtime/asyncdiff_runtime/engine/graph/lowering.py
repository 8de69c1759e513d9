"""From a part of a graph to something that is called: the types, and the plainest way."""

from collections.abc import Callable, Sequence

from torch import Tensor

from .parts import Part

Lowered = Callable[..., tuple[Tensor, ...]]
"""A part that is ready to be called with the values that it reads, in order."""

Lower = Callable[[Part, Sequence[Tensor]], Lowered]
"""Makes a part ready, given an example of each value that it reads."""


def eager(part: Part, examples: Sequence[Tensor]) -> Lowered:  # noqa: ARG001 -- a Lower is given examples
    """Runs a part's operations one after the other, bit for bit as its modules would."""
    lowered: Lowered = part.module.forward
    return lowered
