"""A part cut into segments: run one after the other, they give what the part gives, bit for bit."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from torch.fx import Node

from ..graph.parts import Part, extract
from .line import Line, bytes_of, spans


@dataclass(frozen=True, order=True)
class Edge:
    """A value that one segment makes and a later one reads.

    Attributes:
        source: the segment that makes it.
        target: the segment that reads it.
        value: its name.
        bytes: its size.
    """

    source: int
    target: int
    value: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a part.

    Attributes:
        parts: one each, in order; the last one gives what the whole part gives, the others what later ones read.
        edges: what goes from one to another, by source, target and the order of the graph.
        boundaries: the places of the line at which a new segment begins.
    """

    parts: tuple[Part, ...]
    edges: tuple[Edge, ...]
    boundaries: tuple[int, ...]

    @cached_property
    def sources(self) -> tuple[Mapping[str, int], ...]:
        """By segment: the values of earlier segments that it reads, and which segment makes each."""
        found: list[dict[str, int]] = [{} for _ in self.parts]
        for edge in self.edges:
            found[edge.target][edge.value] = edge.source
        return tuple(found)

    @cached_property
    def joined(self) -> frozenset[tuple[int, int]]:
        """Pairs of segments of which the second reads something of the first."""
        return frozenset((edge.source, edge.target) for edge in self.edges)

    def between(self, source: int, targets: Sequence[int]) -> tuple[str, ...]:
        """What some segments read of another one, in its order."""
        wanted = {edge.value for edge in self.edges if edge.source == source and edge.target in targets}
        return tuple(name for name in self.parts[source].gives if name in wanted)

    def bytes_between(self, source: int, targets: Sequence[int]) -> int:
        """Bytes of what some segments read of another one."""
        sizes = {edge.value: edge.bytes for edge in self.edges if edge.source == source}
        return sum(sizes[name] for name in self.between(source, targets))

    def digest(self) -> str:
        """A hash by which ranks agree that they have cut the same graph at the same places: 64 hexadecimal digits."""
        text = "\n".join(
            (
                f"boundaries {' '.join(map(str, self.boundaries))}",
                *(f"{edge.source} {edge.target} {edge.value} {edge.bytes}" for edge in self.edges),
                *(
                    f"{at} {node.format_node()}"
                    for at, part in enumerate(self.parts)
                    for node in part.module.graph.nodes
                ),
            )
        )
        return sha256(text.encode()).hexdigest()


def divide(line: Line, boundaries: Sequence[int]) -> Segments:
    """Cuts a line at some places.

    Args:
        line: what to cut.
        boundaries: places in rising order at which the line may be cut; before the first operation, the first segment
            is empty.

    Raises:
        ValueError: the line cannot be cut there.
    """
    end = len(line.owned)
    if list(boundaries) != sorted(set(boundaries)) or not all(
        0 <= at < end and line.whole[at] for at in boundaries
    ):
        raise ValueError(f"a line of {end} operations cannot be cut at {list(boundaries)}")
    count = len(boundaries) + 1

    def segment_of(node: Node) -> int:
        return bisect_right(boundaries, line.place[node])

    members: list[list[Node]] = [[] for _ in range(count)]
    for node in line.place:
        members[segment_of(node)].append(node)
    needed = [{source for node in nodes for source in line.reads[node]} for nodes in members]
    needed[-1] |= line.outputs
    graph = line.part.module.graph
    outputs = list(graph.output_node().args[0])  # type: ignore[arg-type]  # -- a part gives a tuple of nodes
    gives = [
        [node for node in members[at] if any(node in wanted for wanted in needed[at + 1 :])]
        for at in range(count - 1)
    ]
    order = {node: at for at, node in enumerate(graph.nodes)}
    for given in gives:
        given.sort(key=order.__getitem__)
    parts = []
    for at, given in enumerate([*gives, outputs]):
        chosen = set(members[at]) | line.leading_to(members[at])
        if at == count - 1:
            chosen |= line.leading_to([graph.output_node()])
        parts.append(extract(graph, chosen, given))
    edges = (
        Edge(source, target, node.name, bytes_of(node))
        for source in range(count - 1)
        for target in range(source + 1, count)
        for node in gives[source]
        if node in needed[target]
    )
    return Segments(tuple(parts), tuple(edges), tuple(boundaries))


def sizes(line: Line, boundaries: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """Seconds of each segment.

    Args:
        line: what is cut.
        boundaries: where.
        seconds: of each place.
    """
    return [sum(seconds[start:stop]) for start, stop in spans(boundaries, len(line.owned))]
