"""The operations of a part as a line that can be cut: which of them a segment owns, and what each reads of others."""

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree

from ..graph.aliases import Aliases, aliases
from ..graph.capture import Captured
from ..graph.cost import storages
from ..graph.dependence import Dependence, dependences
from ..graph.parts import Part


@dataclass(frozen=True, eq=False)
class Line:
    """A part's operations in the order in which they run.

    Some operations are nobody's, and whoever reads one makes it again: what does not depend on the latent, and so is
    never old; and views and lists of views, unless what they are a view of is larger. So lists never go from one
    segment to another, and neither do values of another timestep.

    Attributes:
        part: what the line is of.
        shared: which of its values share memory.
        owned: the operations that a segment owns, in order; `boundary = b` lies before `owned[b]`.
        place: where each owned operation stands; elements taken from an operation that gives several stand with it.
        reads: by owned operation, the owned ones whose values it reads, itself or through what is nobody's.
        common: by operation that is nobody's, the owned ones that it is made from.
        outputs: the owned operations whose values the part's outputs are made from.
        whole: whether a boundary may lie at a place, for each place up to the end: what is written in place stays
            together with all that touches it up to the last writing.
    """

    part: Part
    shared: Aliases
    owned: tuple[Node, ...]
    place: Mapping[Node, int]
    reads: Mapping[Node, frozenset[Node]]
    common: Mapping[Node, frozenset[Node]]
    outputs: frozenset[Node]
    whole: tuple[bool, ...]

    @property
    def boundaries(self) -> tuple[int, ...]:
        """The places at which a boundary may lie, in order; neither before the first operation nor after the last."""
        return tuple(at for at in range(1, len(self.owned)) if self.whole[at])

    def leading_to(self, nodes: Iterable[Node]) -> set[Node]:
        """Operations that are nobody's and that have to be made for these."""
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            new = {source for source in self.shared.before(waiting.pop()) if source in self.common} - found
            found |= new
            waiting += new
        return found


def line(part: Part, latent: Collection[str]) -> Line:
    """Lays the operations of a part out.

    Args:
        part: the part of a captured graph that runs at each evaluation.
        latent: names of the operations that depend on the latent.
    """
    graph = part.module.graph
    shared = aliases(graph)
    together = {node for unit in shared.units() for node in unit}
    owned: list[Node] = []
    place: dict[Node, int] = {}
    reads: dict[Node, frozenset[Node]] = {}
    common: dict[Node, frozenset[Node]] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        sources = _sources(node, place, common)
        if node.name not in latent or (node not in together and _is_nobodys(node, sources, place)):
            common[node] = sources
            continue
        reads[node] = sources
        if node.target is operator.getitem and node.all_input_nodes[0] in place:
            place[node] = place[node.all_input_nodes[0]]
        else:
            place[node] = len(owned)
            owned.append(node)
    return Line(
        part=part,
        shared=shared,
        owned=tuple(owned),
        place=place,
        reads=reads,
        common=common,
        outputs=_sources(graph.output_node(), place, common),
        whole=_whole(graph, place, len(owned), shared),
    )


def depending_on_the_latent(captured: Captured) -> frozenset[str]:
    """Names of a graph's operations that depend on the latent."""
    return frozenset(node.name for node, kind in dependences(captured).items() if kind is Dependence.LATENT)


def bytes_of(node: Node) -> int:
    """Bytes of a value when it is sent."""
    return sum(leaf.numel() * leaf.element_size() for leaf in _tensors(node))


def _sources(
    node: Node, place: Mapping[Node, int], common: Mapping[Node, frozenset[Node]]
) -> frozenset[Node]:
    """The owned operations that a node reads, itself or through what is nobody's."""
    found: set[Node] = set()
    for source in node.all_input_nodes:
        if source in place:
            found.add(source)
        else:
            found |= common.get(source, frozenset())
    return frozenset(found)


def _is_nobodys(node: Node, sources: frozenset[Node], place: Mapping[Node, int]) -> bool:
    if not _is_view(node) or (node.target is operator.getitem and node.all_input_nodes[0] in place):
        return False
    if not isinstance(node.meta.get("val"), Tensor):
        return True
    return sum(map(bytes_of, sources)) <= bytes_of(node)


def _is_view(node: Node) -> bool:
    """Whether all that an operation gives lies in the memory of what it reads."""
    made = storages(node.meta.get("val")).keys()
    if isinstance(node.target, OpOverload):
        if node.target._schema.is_mutable:  # noqa: SLF001 -- torch's own passes read it
            return False
    elif node.target is not operator.getitem:
        return False
    given = {key for source in node.all_input_nodes for key in storages(source.meta.get("val"))}
    return bool(made) and made <= given


def _whole(graph: Graph, place: Mapping[Node, int], places: int, shared: Aliases) -> tuple[bool, ...]:
    """Whether a boundary at each place leaves everything together that has to be."""
    spans = [[place[node] for node in unit if node in place] for unit in shared.units()]
    spans += [
        [place[node] for node in touching if node in place] for touching in _touching_inputs(graph, shared)
    ]
    for node in graph.nodes:
        if node in place and not isinstance(node.meta.get("val"), Tensor):
            spans.append([place[node], *(place[user] for user in node.users if user in place)])
    crossed = [0] * (places + 2)
    for span in spans:
        if span:
            crossed[min(span) + 1] += 1
            crossed[max(span) + 1] -= 1
    whole, depth = [], 0
    for change in crossed[: places + 1]:
        depth += change
        whole.append(depth == 0)
    return tuple(whole)


def _touching_inputs(graph: Graph, shared: Aliases) -> Iterator[list[Node]]:
    """Whatever touches an input that is written to: other ranks have that input too, without what was written."""
    for home in shared.writers:
        if home.op == "placeholder":
            yield [
                node
                for node in graph.nodes
                if any(home in shared.homes[source] for source in (node, *node.all_input_nodes))
            ]


def _tensors(node: Node) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]


def spans(boundaries: Iterable[int], end: int) -> list[tuple[int, int]]:
    """The runs of places between boundaries."""
    return list(pairwise((0, *boundaries, end)))
