"""From a captured graph to a program: divided by how often its parts have to run, and run part by part."""

from .capture import Captured
from .hoisting import hoist
from .lowering import eager
from .program import Program


def prepared(captured: Captured, held_bytes: int) -> Program:
    """The program of a graph, whose operations run one after the other, bit for bit as its modules would.

    Args:
        captured: the graph.
        held_bytes: most memory for values that are kept from one evaluation to the next.
    """
    return Program(captured, hoist(captured, held_bytes), eager)
