"""What a value depends on, and so how often it has to be made."""

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING

from torch.fx import Graph, Node

from .aliases import Aliases, aliases, is_check, is_random

if TYPE_CHECKING:
    from .capture import Captured


class Dependence(IntEnum):
    """How often a value changes; a value computed from others changes as often as the quickest of them."""

    WEIGHTS = 0
    """Never: it follows from the weights alone."""
    GENERATION = 1
    """From one picture to the next: prompt, pooled embedding, size, mask, control image."""
    EVALUATION = 2
    """At every evaluation, in a way known beforehand: timestep, and what is made of it."""
    LATENT = 3
    """At every evaluation, with the latent."""


def dependences(captured: "Captured") -> Mapping[Node, Dependence]:
    """The class of every node: the highest among its inputs'.

    Besides, made anew at each evaluation are random numbers, checks of values, and what the output hands out, which
    its reader may change. Memory that is written in place has one class, the highest of all that is written to it or
    read from it before the last writing, so that the order of reads and writes cannot change; writing into an input
    or a weight happens at each evaluation.
    """
    graph = captured.graph.graph
    shared = aliases(graph)
    units = shared.units()
    floors = dict.fromkeys(_always_made(graph, shared), Dependence.LATENT)
    while True:
        classes = _flow(captured, floors)
        raised = {
            node: highest
            for unit in units
            for highest in (max(classes[node] for node in unit),)
            for node in unit
            if classes[node] < highest
        }
        if not raised:
            return classes
        floors |= raised


def _always_made(graph: Graph, shared: Aliases) -> set[Node]:
    handed_out = {home for source in graph.output_node().all_input_nodes for home in shared.homes[source]}
    written = {home for home in shared.writers if home.op == "placeholder"}
    return {
        node
        for node in graph.nodes
        if node.op == "output"
        or is_random(node)
        or is_check(node)
        or node in written
        or (node in handed_out and node.op != "placeholder")
    }


def _flow(captured: "Captured", floors: Mapping[Node, Dependence]) -> dict[Node, Dependence]:
    classes: dict[Node, Dependence] = {}
    for node in captured.graph.graph.nodes:
        own = captured.dependence_of(node) if node.op == "placeholder" else Dependence.WEIGHTS
        sources = (classes[source] for source in node.all_input_nodes)
        classes[node] = max((own, floors.get(node, own), *sources))
    return classes
