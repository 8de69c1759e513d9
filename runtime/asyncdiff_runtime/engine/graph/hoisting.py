"""Taking out of the loop what does not depend on the latent."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from torch import Tensor
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree

from .aliases import Aliases, aliases, is_check, is_random
from .capture import Captured
from .cost import Cost, costs, distinct_bytes
from .crossing import cross, leading_to
from .dependence import Dependence, dependences
from .hoisting_report import HoistingReport, reported
from .parts import Part, extract
from .work import work

_OVERHEAD_BYTES = 64 << 10
"""What an operation costs beside its work, in bytes moved: below this, nothing is worth making again."""
_WIDENING = 2
"""An operation that gives this many times what it reads (a broadcast, a repetition, a cast to a wider type) is as good
as free in the part that reads it, and its result the worst thing to hold."""
_DEAREST = 2.0**24
"""Price of a held byte, in bytes moved at each evaluation, above which nothing is held at all."""
_SPREAD = 0.1
"""By how much the last value of a graph is dearer than the first: the keys and values of all blocks save equally much a
byte, and without a difference a budget would hold all of them or none."""
_HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Hoisted:
    """A graph in four parts, by how often they have to run.

    Attributes:
        constants: run once; reads weights alone.
        generation: run when a prompt, a size or a mask changes.
        evaluation: run when the timestep changes.
        latent: run at each evaluation; gives the graph's outputs.
        outputs: the graph's outputs in order: names of values, or what else was given at capture.
        budget_bytes: what was to be held at most.
        report: figures.
    """

    constants: Part
    generation: Part
    evaluation: Part
    latent: Part
    outputs: tuple[Any, ...]
    budget_bytes: int
    report: HoistingReport

    @property
    def parts(self) -> Mapping[Dependence, Part]:
        """The parts by the class of what they make."""
        parts = (self.constants, self.generation, self.evaluation, self.latent)
        return dict(zip(Dependence, parts, strict=True))


@dataclass(frozen=True)
class Division:
    """Which operations run in which part, and the values that each gives to later ones."""

    nodes: Mapping[Dependence, frozenset[Node]]
    gives: Mapping[Dependence, tuple[Node, ...]]


@dataclass(frozen=True, eq=False)
class Subject:
    """A graph with all that is known about it."""

    graph: Graph
    classes: Mapping[Node, Dependence]
    shared: Aliases
    units: tuple[frozenset[Node], ...]
    found: Mapping[Node, Cost]
    live: frozenset[Node]
    place: Mapping[Node, float]
    handed_out: frozenset[Node]

    @classmethod
    def of(cls, captured: Captured, apart: Collection[Dependence]) -> "Subject":
        """Looks at a captured graph once; what is not kept `apart` counts as depending on the latent."""
        graph = captured.graph.graph
        shared = aliases(graph)
        return cls(
            graph=graph,
            classes={
                node: kind if kind in apart else Dependence.LATENT
                for node, kind in dependences(captured).items()
            },
            shared=shared,
            units=tuple(shared.units()),
            found=costs(captured),
            live=frozenset(_live(graph, shared)),
            handed_out=frozenset(home for node in _given(graph) for home in shared.homes[node]),
            place={node: at / len(graph.nodes) for at, node in enumerate(graph.nodes)},
        )


def hoist(
    captured: Captured, budget_bytes: int, apart: Collection[Dependence] = frozenset(Dependence)
) -> Hoisted:
    """Divides a graph into parts, so that the latent part does little more than what depends on the latent.

    A value of an earlier part is handed on where holding it is cheaper than making it again from what is held anyway:
    views and broadcasts are made again, and so are the cheapest operations a byte where the budget does not suffice.

    Args:
        captured: the graph; it is left as it is.
        budget_bytes: what constants, one generation's values and one evaluation's may take together.
        apart: classes of values that get a part of their own; others are made in the latent part. A class that is
            left out has to be above those that are not.
    """
    subject = Subject.of(captured, apart)
    division = affordable(subject, budget_bytes)
    parts = {kind: extract(subject.graph, division.nodes[kind], division.gives[kind]) for kind in Dependence}
    return Hoisted(
        constants=parts[Dependence.WEIGHTS],
        generation=parts[Dependence.GENERATION],
        evaluation=parts[Dependence.EVALUATION],
        latent=parts[Dependence.LATENT],
        outputs=tuple(given.name if isinstance(given, Node) else given for given in _outputs(subject.graph)),
        budget_bytes=budget_bytes,
        report=_report(subject, division),
    )


def affordable(subject: Subject, budget_bytes: int) -> Division:
    """The division that saves most work among those whose held values fit into the budget."""
    price = 1.0
    division = divide(subject, price)
    while held_bytes(division, subject) > budget_bytes:
        price *= 4
        if price > _DEAREST:
            return _undivided(subject)
        division = divide(subject, price)
    if price == 1.0:
        return division
    low, high = price / 4, price
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        tried = divide(subject, middle)
        if held_bytes(tried, subject) > budget_bytes:
            low = middle
        else:
            high, division = middle, tried
    return division


def divide(subject: Subject, price: float) -> Division:
    """The cheapest division where a held byte costs as much as `price` bytes moved at each evaluation.

    From the part that runs most often to the one that runs least, each is given what it reads at the lowest cost.
    """
    wanted: set[Node] = set()
    nodes: dict[Dependence, frozenset[Node]] = {}
    for kind in (Dependence.LATENT, Dependence.EVALUATION, Dependence.GENERATION):
        roots = subject.live if kind is Dependence.LATENT else wanted
        own = _made(subject, roots, kind)
        crossing = cross(
            own | {subject.graph.output_node()} if kind is Dependence.LATENT else own,
            subject.shared,
            units=subject.units,
            price=partial(_price, subject, frozenset(wanted), price),
            labour=partial(_labour, subject),
        )
        nodes[kind] = own | crossing.remade
        wanted |= crossing.held
    nodes[Dependence.WEIGHTS] = _made(subject, wanted, Dependence.WEIGHTS)
    gives = {
        kind: tuple(
            node
            for node in subject.graph.nodes
            if node in wanted and subject.classes[node] is kind and node.op != "placeholder"
        )
        for kind in Dependence
    }
    gives[Dependence.LATENT] = _given(subject.graph)
    return Division(nodes, gives)


def held_bytes(division: Division, subject: Subject) -> int:
    """Bytes of memory, beside weights and inputs, that the values handed from part to part lie in."""
    seldom = (kind for kind in Dependence if kind is not Dependence.LATENT)
    return _memory_of((node for kind in seldom for node in division.gives[kind]), subject.shared)


def _undivided(subject: Subject) -> Division:
    """Everything in the part that runs at each evaluation."""
    nodes = dict.fromkeys(Dependence, frozenset[Node]())
    nodes[Dependence.LATENT] = frozenset(node for node in subject.live if node.op != "placeholder")
    gives = dict.fromkeys(Dependence, tuple[Node, ...]())
    gives[Dependence.LATENT] = _given(subject.graph)
    return Division(nodes, gives)


def _made(subject: Subject, wanted: Iterable[Node], kind: Dependence) -> frozenset[Node]:
    """The operations of a class that lead to what is wanted, that itself included and what is written into it."""
    roots = set(wanted)
    shared = subject.shared
    roots |= {
        writer for node in roots for home in shared.homes[node] for writer in shared.writers.get(home, ())
    }
    return frozenset(
        node
        for node in roots | leading_to(roots, subject.shared)
        if subject.classes[node] is kind and node.op not in ("placeholder", "output")
    )


def _price(subject: Subject, free: frozenset[Node], price: float, node: Node) -> float:
    """Price of holding a value."""
    if node in free or node.op == "placeholder":
        return 0.0
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or distinct_bytes(value) < value.numel() * value.element_size():
        return inf  # a list, a number, a graph; or a broadcast, which others than views would write out
    if not subject.shared.homes[node].isdisjoint(subject.handed_out):
        return inf  # a view of an input that its reader may write to
    if all(home.op == "placeholder" for home in subject.shared.homes[node]):
        return 0.0
    place = min(subject.place[home] for home in subject.shared.homes[node])
    return price * (1.0 + _SPREAD * place) * value.numel() * value.element_size()


def _labour(subject: Subject, node: Node) -> float:
    """What doing an operation again costs at each evaluation, in bytes moved."""
    cost = subject.found[node]
    if cost.bytes == 0 and cost.flops == 0:
        return 1.0
    given = sum(distinct_bytes(leaf) for leaf in _tensors(node))
    if cost.flops == 0 and given >= _WIDENING * (cost.bytes - given):
        return cost.bytes - given + _OVERHEAD_BYTES
    return work(cost) + _OVERHEAD_BYTES


def _live(graph: Graph, shared: Aliases) -> set[Node]:
    """Operations without which an output, the state of the random generator, or an input would be another."""
    inputs = {home for home in shared.writers if home.op == "placeholder"}
    roots = {graph.output_node(), *(writer for home in inputs for writer in shared.writers[home])}
    roots |= {node for node in graph.nodes if is_random(node) or is_check(node)}
    return (roots | leading_to(roots, shared)) - {graph.output_node()}


def _report(subject: Subject, division: Division) -> HoistingReport:
    kinds = {node: subject.classes[node] for node in subject.live if node.op != "placeholder"}
    held = {kind: _memory_of(division.gives[kind], subject.shared) for kind in Dependence}
    return reported(kinds, subject.found, division.nodes, held | {Dependence.LATENT: 0})


def _memory_of(nodes: Iterable[Node], shared: Aliases) -> int:
    homes = {home for node in nodes for home in shared.homes[node] if home.op != "placeholder"}
    return sum(tensor.numel() * tensor.element_size() for home in homes for tensor in _tensors(home))


def _tensors(node: Node) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]


def _outputs(graph: Graph) -> tuple[Any, ...]:
    (given,) = graph.output_node().args
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def _given(graph: Graph) -> tuple[Node, ...]:
    return tuple(dict.fromkeys(node for node in _outputs(graph) if isinstance(node, Node)))
