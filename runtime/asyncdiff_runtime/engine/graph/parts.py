"""Some of a graph's nodes as a function of their own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch.fx import Graph, GraphModule, Node


@dataclass(frozen=True, eq=False)
class Part:
    """A subgraph as a function of values that have names.

    Attributes:
        module: takes the values that it reads and gives a tuple of those that it gives, in order.
        reads: names of the values that it takes: weights, inputs, or what other parts give.
        gives: names of the values that it gives.
    """

    module: GraphModule
    reads: tuple[str, ...]
    gives: tuple[str, ...]


def extract(graph: Graph, nodes: Collection[Node], gives: Sequence[Node]) -> Part:
    """The part of a graph that computes `gives` with `nodes`, in the graph's own order.

    What the nodes read and do not compute themselves become the part's placeholders, under their own names and with
    their `meta`, in the order of the graph.

    Args:
        graph: the whole graph; it is left as it is.
        nodes: the operations of the part; placeholders and the output node are never among them.
        gives: nodes of the part, or values that it merely passes on.
    """
    chosen = set(nodes)
    read = {source for node in chosen for source in node.all_input_nodes} | set(gives)
    part = Graph()
    copies: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in read and node not in chosen:
            copies[node] = part.placeholder(node.name)
            copies[node].meta = dict(node.meta)
    for node in graph.nodes:
        if node in chosen:
            copies[node] = part.node_copy(node, copies.__getitem__)
    reads = tuple(node.name for node in graph.nodes if node in read and node not in chosen)
    part.output(tuple(copies[node] for node in gives))
    part.lint()
    # Graphs within the graph, which run under another mode of torch, are attributes of its module.
    return Part(GraphModule(graph.owning_module or {}, part), reads, tuple(node.name for node in gives))
