"""Where to cut between what is made seldom and what is made often: a minimum cut over the graph.

A value that often made operations read can be held, or made again among them from values before it. Both have their
price: memory for the one, work at each evaluation for the other. The cheapest choice for all values together is a
minimum cut (as compilers choose what to keep for a backward pass; Griewank and Walther, Evaluating Derivatives).
"""

from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import dataclass
from math import inf

import networkx
from torch.fx import Node

from .aliases import Aliases

_FIRST, _LAST = "made seldom", "made often"
_SCALE = 1024
"""Prices are fractions of a byte; flows are whole numbers, so that they always end."""


@dataclass(frozen=True, eq=False)
class Crossing:
    """What two parts of a graph have to do with each other.

    Attributes:
        held: values that the later part is handed by the earlier one, or takes as the graph's inputs.
        remade: operations that the later part does again for itself.
    """

    held: frozenset[Node]
    remade: frozenset[Node]


def cross(
    late: Collection[Node],
    shared: Aliases,
    *,
    units: Iterable[Set[Node]],
    price: Callable[[Node], float],
    labour: Callable[[Node], float],
) -> Crossing:
    """The cheapest way to hand to the `late` operations what they read and do not make.

    Args:
        late: the operations of the later part; whatever leads to them may be made by the earlier one.
        shared: which values share memory.
        units: operations that are made again together or not at all.
        price: of holding a value, the inputs' included; infinite where it cannot be held.
        labour: of doing an operation again; inputs are never made again.
    """
    late = frozenset(late)
    early = leading_to(late, shared)
    network = networkx.DiGraph()
    network.add_nodes_from((_FIRST, _LAST))
    for node in early:
        _join(network, _FIRST, (node, 0), inf if node.op == "placeholder" else labour(node))
        _join(network, (node, 0), (node, 1), price(node))
        for source in node.all_input_nodes:
            _join(network, (source, 1), (node, 0), inf)
    for source in {source for node in late for source in node.all_input_nodes} - late:
        _join(network, (source, 1), _LAST, inf)
    for unit in units:
        members = [node for node in unit if node in early]
        for one, other in zip(members, members[1:] + members[:1], strict=True):
            _join(network, (one, 0), (other, 0), inf)
    # The cut nearest to the later part: of two that cost the same, the one that does less again.
    _, (_, far) = networkx.minimum_cut(network, _FIRST, _LAST)
    return Crossing(
        held=frozenset(node for node in early if (node, 0) not in far and (node, 1) in far),
        remade=frozenset(node for node in early if (node, 0) in far),
    )


def leading_to(nodes: Collection[Node], shared: Aliases) -> set[Node]:
    """Every node that has to have run for `nodes`, themselves left out."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        new = shared.before(waiting.pop()) - found
        found |= new
        waiting += new
    return found - set(nodes)


def _join(network: "networkx.DiGraph", one: object, other: object, capacity: float) -> None:
    """An edge; without a capacity, as the library has it, where it must not be cut."""
    if capacity == inf:
        network.add_edge(one, other)
    else:
        network.add_edge(one, other, capacity=round(capacity * _SCALE))
