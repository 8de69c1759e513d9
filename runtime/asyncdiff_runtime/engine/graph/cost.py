"""What each operation of a graph costs, told from the forms of its values: nothing is run, and no device is needed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from .capture import Captured
from .dependence import Dependence

Key = TypeVar("Key")

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_LOOKUPS = frozenset({torch.ops.aten.embedding.default, torch.ops.aten.index_select.default})
"""Operations that read, of their first argument, no more than what they give."""


@dataclass(frozen=True)
class Cost:
    """What an operation costs, or several together.

    Attributes:
        flops: floating-point operations of products, convolutions and attention; a multiplication and an addition
            are two. Others count as none: memory bounds them.
        bytes: read and written, each operation by itself. Views are free.
        weight_bytes: those of `bytes` that are weights, which a larger batch does not read again.
    """

    flops: int = 0
    bytes: int = 0
    weight_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops, self.bytes + other.bytes, self.weight_bytes + other.weight_bytes
        )

    def of_rows(self, rows: int, whole: int) -> "Cost":
        """The cost for `rows` rows of a batch, of which this is the cost for `whole`."""
        others = self.bytes - self.weight_bytes
        return Cost(self.flops * rows // whole, self.weight_bytes + others * rows // whole, self.weight_bytes)


FREE = Cost()


def costs(captured: Captured) -> Mapping[Node, Cost]:
    """The cost of every node; placeholders, views and the output are free.

    FLOPs are those of `torch.utils.flop_counter`; attention is counted whole, masked or not.
    """
    counted: dict[Any, int] = {}
    nodes = captured.graph.graph.nodes
    weights = {key for node in nodes if node.name in captured.weights for key in storages(node.meta["val"])}
    return _of_graph(captured.graph, weights, counted)


def total(parts: Iterable[Cost]) -> Cost:
    """The cost of all of them."""
    return sum(parts, FREE)


def by_dependence(
    found: Mapping[Node, Cost], dependence: Mapping[Node, Dependence]
) -> dict[Dependence, Cost]:
    """The cost of all nodes of each class, and of no class that has none."""
    return _grouped(found, lambda node: dependence[node])


def by_module(found: Mapping[Node, Cost], depth: int) -> dict[str, Cost]:
    """The cost of each module, by its path cut to `depth` names; in the order in which they begin.

    Attributes of the joint module, such as `denoiser`, are the first name of a path.
    """
    return _grouped(found, lambda node: ".".join(module_path(node).split(".")[:depth]))


def module_path(node: Node) -> str:
    """The path of the innermost module that a node came from, such as `denoiser.mid_block.attentions.0`.

    A part of a module that was called by itself, as the layers of a list are, counts as that module's.
    """
    stack = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(stack.values()) if path), "")


def storages(value: Any) -> dict[int, int]:
    """Bytes of each storage that a value's tensors lie in, by a key that views of one another share."""
    found = (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
    return {
        leaf.untyped_storage()._cdata: leaf.untyped_storage().nbytes()  # noqa: SLF001 -- the only identity it has
        for leaf in found
    }


def distinct_bytes(tensor: Tensor) -> int:
    """Bytes that reading a tensor touches: a broadcast dimension is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return torch.Size(sizes).numel() * tensor.element_size()


def _of_graph(graph: GraphModule, weights: set[int], counted: dict[Any, int]) -> dict[Node, Cost]:
    return {node: _of_node(node, weights, counted) for node in graph.graph.nodes}


def _of_node(node: Node, weights: set[int], counted: dict[Any, int]) -> Cost:
    if node.op != "call_function":
        return FREE
    if isinstance(node.target, HigherOrderOperator):
        return _of_region(node, counted)
    if not isinstance(node.target, OpOverload):
        return FREE  # getitem and arithmetic on sizes
    return Cost(_flops(node, counted), *_traffic(node, node.target, weights))


def _of_region(node: Node, counted: dict[Any, int]) -> Cost:
    """The cost of what runs under another mode of torch, such as autocast: a graph inside the graph."""
    owner = node.graph.owning_module
    inner = [
        getattr(owner, str(argument.target)) for argument in node.all_input_nodes if argument.op == "get_attr"
    ]
    graphs = [graph for graph in inner if isinstance(graph, GraphModule)]
    return total(cost for graph in graphs for cost in _of_graph(graph, set(), counted).values())


def _traffic(node: Node, target: OpOverload, weights: set[int]) -> tuple[int, int]:
    """Bytes that a node reads and writes, and those of them that are weights."""
    sources = [source for source in node.all_input_nodes if "val" in source.meta]
    before = {key for source in sources for key in storages(source.meta["val"])}
    written = [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]
    in_place = target._schema.is_mutable  # noqa: SLF001 -- torch's own passes read it
    if not in_place and all(storages(leaf).keys() <= before for leaf in written):
        return 0, 0
    given = sum(distinct_bytes(leaf) for leaf in written)
    if target in _LOOKUPS:
        return 2 * given, 0
    reads = {source: _bytes_of(source.meta["val"]) for source in sources}
    of_weights = sum(size for source, size in reads.items() if storages(source.meta["val"]).keys() <= weights)
    return given + sum(reads.values()), of_weights


def _bytes_of(value: Any) -> int:
    return sum(distinct_bytes(leaf) for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))


def _flops(node: Node, counted: dict[Any, int]) -> int:
    values = pytree.tree_map_only(Node, lambda source: source.meta.get("val"), (node.args, node.kwargs))
    key = (node.target, str(pytree.tree_map_only(Tensor, _described, values)))
    if key not in counted:
        counted[key] = _count(node.target, *values)
    return counted[key]


def _count(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    if target is _ATTENTION:  # what it decomposes to depends on the device, and the count does not
        query, key, value = args[:3]
        if key.shape[1] != query.shape[1]:  # grouped-query attention: each head of keys is read by several
            heads = query.shape[1]
            key, value = (t[:, :1].expand(-1, heads, -1, -1) for t in (key, value))
        return int(sdpa_flop_count(query.shape, key.shape, value.shape))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        target(*args, **kwargs)
    return int(counter.get_total_flops())


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype}{tuple(tensor.shape)}{tensor.stride()}"


def _grouped(found: Mapping[Node, Cost], key_of: Callable[[Node], Key]) -> dict[Key, Cost]:
    groups: dict[Key, Cost] = {}
    for node, cost in found.items():
        if cost != FREE:
            key = key_of(node)
            groups[key] = groups.get(key, FREE) + cost
    return groups
