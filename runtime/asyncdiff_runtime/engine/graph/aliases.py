"""Which values of a graph may share memory, and which operations write into it or draw random numbers.

Exported graphs are nearly functional, not wholly: rotary embeddings fill an empty tensor through its slices (Wan, LTX,
CogVideoX), masks are filled in place (HunyuanVideo), residuals are added in place (several ControlNets).
"""

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

_KEEPING = ("dropout", "feature_dropout", "alpha_dropout", "type_as", "meshgrid", "broadcast_tensors")
"""Operations that may give their input back although their schema does not say so."""
_DETACHING = torch.ops.aten.detach_.default
"""Writes nothing, though its schema says that it does; it stands behind each tensor that a forward makes of numbers."""
_FORM_CHECK = torch.ops.aten._assert_tensor_metadata.default  # noqa: SLF001 -- its public name


@dataclass(frozen=True, eq=False)
class Aliases:
    """Where the values of a graph lie.

    Attributes:
        homes: by value, the nodes that made the memory it may lie in; itself, where it has memory of its own.
        writers: by the node that made the memory, the operations that write into it, in order.
    """

    homes: Mapping[Node, frozenset[Node]]
    writers: Mapping[Node, tuple[Node, ...]]

    def before(self, node: Node) -> set[Node]:
        """What has to have run when `node` runs: its inputs, and what was written into them by then."""
        sources = node.all_input_nodes
        written = (
            writer
            for source in sources
            for home in self.homes[source]
            for writer in self.writers.get(home, ())
        )
        return {*sources, *(writer for writer in written if writer < node)}

    def units(self) -> list[frozenset[Node]]:
        """Operations that must stay together: those on memory that is written, up to the last writing."""
        return [self._unit(home, writers[-1]) for home, writers in self.writers.items()]

    def _unit(self, home: Node, last: Node) -> frozenset[Node]:
        touching = {
            node
            for node, homes in self.homes.items()
            if home in homes or any(home in self.homes[source] for source in node.all_input_nodes)
        }
        return frozenset(node for node in touching if node <= last)


def aliases(graph: Graph) -> Aliases:
    """Tells from schemas, and from the values noted at capture, which values may share memory.

    An operation without a schema is taken to share memory with all its inputs.
    """
    homes: dict[Node, frozenset[Node]] = {}
    writers: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        shared = [homes[source] for source in _shared(node)]
        homes[node] = frozenset().union(*shared) if shared else frozenset({node})
        for source in _written(node):
            for home in homes[source]:
                writers.setdefault(home, []).append(node)
    return Aliases(homes, {home: tuple(nodes) for home, nodes in writers.items()})


def is_random(node: Node) -> bool:
    """Whether an operation draws random numbers; dropout that is off does not."""
    if node.op != "call_function":
        return False
    if not isinstance(node.target, OpOverload):
        return any(is_random(inner) for inner in _inner_nodes(node))
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    given = dict(_arguments(node))
    return not (
        given.get("train") is False or given.get("training") is False or given.get("dropout_p") == 0.0
    )


def is_check(node: Node) -> bool:
    """Whether an operation is there to look at values; checks of forms, which are as captured, do not count."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return False
    return not node.target._schema.returns and node.target is not _FORM_CHECK  # noqa: SLF001 -- as below


def _shared(node: Node) -> list[Node]:
    """The inputs in whose memory a node's value may lie."""
    if node.op != "call_function":
        return []
    if not isinstance(node.target, OpOverload):
        return node.all_input_nodes if node.target is operator.getitem or list(_inner_nodes(node)) else []
    schema = node.target._schema  # noqa: SLF001 -- torch's own passes read it
    if node.target._opname in _KEEPING:  # noqa: SLF001 -- its name without the namespace
        return node.all_input_nodes
    if any(given.alias_info is not None for given in schema.returns):
        return [
            source
            for argument, value in zip(schema.arguments, _bound(node), strict=True)
            if argument.alias_info is not None
            for source in _nodes_in(value)
        ]
    mine = _memory(node)
    return [source for source in node.all_input_nodes if mine & _memory(source)]


def _written(node: Node) -> list[Node]:
    """The inputs that a node writes into."""
    if not isinstance(node.target, OpOverload) or node.target is _DETACHING:
        return []
    schema = node.target._schema  # noqa: SLF001 -- torch's own passes read it
    return [
        source
        for argument, value in zip(schema.arguments, _bound(node), strict=True)
        if argument.alias_info is not None and argument.alias_info.is_write
        for source in _nodes_in(value)
    ]


def _arguments(node: Node) -> Iterator[tuple[str, Any]]:
    assert isinstance(node.target, OpOverload)
    schema = node.target._schema  # noqa: SLF001 -- torch's own passes read it
    for argument, value in zip(schema.arguments, _bound(node), strict=True):
        yield argument.name, value


def _bound(node: Node) -> list[Any]:
    """The value of each argument of a node's schema, its default where none is given."""
    assert isinstance(node.target, OpOverload)
    arguments = node.target._schema.arguments  # noqa: SLF001 -- torch's own passes read it
    given = dict(zip((argument.name for argument in arguments), node.args, strict=False)) | node.kwargs
    return [given.get(argument.name, argument.default_value) for argument in arguments]


def _inner_nodes(node: Node) -> Iterator[Node]:
    """The operations of the graphs that a node runs under another mode of torch, such as autocast."""
    owner = node.graph.owning_module
    for source in node.all_input_nodes:
        inner = getattr(owner, str(source.target), None) if source.op == "get_attr" else None
        if isinstance(inner, GraphModule):
            yield from inner.graph.nodes


def _nodes_in(value: Any) -> list[Node]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Node)]


def _memory(node: Node) -> set[int]:
    leaves = pytree.tree_leaves(node.meta.get("val"))
    return {leaf.untyped_storage()._cdata for leaf in leaves if isinstance(leaf, Tensor)}  # noqa: SLF001 -- its identity
