"""From a captured graph to a program: divided by how often its parts have to run, and lowered."""

from .capture import Captured
from .hoisting import hoist
from .lowerings import Lowerings
from .program import Program


def prepared(captured: Captured, lowerings: Lowerings, held_bytes: int) -> Program:
    """The program of a graph.

    Args:
        captured: the graph.
        lowerings: how its parts are lowered.
        held_bytes: most memory for values that are kept from one evaluation to the next.
    """
    hoisted = hoist(captured, held_bytes, lowerings.apart)
    fixed = {*captured.weights, *hoisted.constants.gives}
    return Program(captured, hoisted, lowerings.of(hoisted.parts, fixed))
