"""Which kernels a compiler makes of a graph, as far as cost and memory depend on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from .capture import Captured
from .cost import FREE, Cost, distinct_bytes, storages

_OUTSIDE = -1
"""Where the output stands among the kernels."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Operations that run together: one product, convolution or attention, or a run of pointwise ones, fused.

    Attributes:
        nodes: the operations that cost something, in order.
        cost: what is computed, and what is read and written outside of the kernel.
    """

    nodes: tuple[Node, ...]
    cost: Cost


def kernels(captured: Captured, found: Mapping[Node, Cost]) -> tuple[Kernel, ...]:
    """The kernels of a graph, in order.

    Pointwise operations, norms and copies between two products are one kernel, and what they hand to each other alone
    never reaches memory. A compiler does better where it fuses into a product, and worse where a reduction ends a
    kernel; what is predicted from this is off by as much.

    Args:
        captured: the graph.
        found: the cost of each of its nodes.
    """
    runs = list(_runs(found))
    place = {node: index for index, run in enumerate(runs) for node in run}
    readers = _readers(captured, place)
    weights = {key for node in _weights(captured) for key in storages(node.meta["val"])}
    return tuple(
        Kernel(tuple(run), found[run[0]] if found[run[0]].flops else _fused(run, index, readers, weights))
        for index, run in enumerate(runs)
    )


def peak_bytes(captured: Captured) -> int:
    """Most bytes of values that are alive at once in the graph's own order: inputs, results, all in between.

    Weights are left out, and so is the memory that a kernel takes for itself.
    """
    nodes = list(captured.graph.graph.nodes)
    weights = {key for node in _weights(captured) for key in storages(node.meta["val"])}
    last = {key: at for at, node in enumerate(nodes) for key in _touched(node)}
    alive: dict[int, int] = {}
    peak = 0
    for at, node in enumerate(nodes):
        alive |= {key: size for key, size in storages(node.meta.get("val")).items() if key not in weights}
        peak = max(peak, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last[key] > at}
    return peak


def _runs(found: Mapping[Node, Cost]) -> Iterator[Sequence[Node]]:
    """Products, each alone, and the runs of what lies between them."""
    run: list[Node] = []
    for node, cost in found.items():
        if cost.flops:
            if run:
                yield run
            yield [node]
            run = []
        elif cost != FREE:
            run.append(node)
    if run:
        yield run


def _readers(captured: Captured, place: Mapping[Node, int]) -> Mapping[int, set[int]]:
    """By storage: the kernels that read it."""
    readers: dict[int, set[int]] = {}
    for node in captured.graph.graph.nodes:
        if node in place or node.op == "output":
            for source in node.all_input_nodes:
                for key in storages(source.meta.get("val")):
                    readers.setdefault(key, set()).add(place.get(node, _OUTSIDE))
    return readers


def _fused(run: Sequence[Node], index: int, readers: Mapping[int, set[int]], weights: set[int]) -> Cost:
    made = {key for node in run for key in storages(node.meta["val"])}
    reads: dict[int, int] = {}
    writes: dict[int, int] = {}
    for node in run:
        for source in node.all_input_nodes:
            for tensor in _tensors(source):
                for key in storages(tensor):
                    reads[key] = max(reads.get(key, 0), distinct_bytes(tensor))
        for tensor in _tensors(node):
            for key in storages(tensor):
                writes[key] = max(writes.get(key, 0), distinct_bytes(tensor))
    read = {key: size for key, size in reads.items() if key not in made}
    written = sum(size for key, size in writes.items() if readers.get(key, set()) - {index})
    of_weights = sum(size for key, size in read.items() if key in weights)
    return Cost(0, sum(read.values()) + written, of_weights)


def _tensors(node: Node) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]


def _weights(captured: Captured) -> list[Node]:
    return [node for node in captured.graph.graph.nodes if node.name in captured.weights]


def _touched(node: Node) -> set[int]:
    """Storages that a node makes or reads."""
    values = [node.meta.get("val"), *(source.meta.get("val") for source in node.all_input_nodes)]
    return {key for value in values for key in storages(value)}
