"""Which weights the operations of a line stand on, whether they read them or what was made of them beforehand."""

from collections.abc import Iterable, Mapping

from torch.fx import Node

from ..graph.capture import Captured
from ..graph.hoisting import Hoisted
from ..graph.parts import Part
from .line import Line
from .segments import Segments
from .workload import Held

Origins = Mapping[str, frozenset[str]]
"""By a value's name, the weights that it is made of."""

_NONE: frozenset[str] = frozenset()


def origins(captured: Captured, hoisted: Hoisted) -> Origins:
    """The origins of all values that the part that depends on the latent may read."""
    found: dict[str, frozenset[str]] = {name: frozenset((name,)) for name in captured.weights}
    for part in (hoisted.constants, hoisted.generation, hoisted.evaluation):
        made = _through(part, found)
        given = part.module.graph.output_node().all_input_nodes
        found |= {node.name: made[node] for node in given if node.op != "placeholder"}
    return found


def held(captured: Captured, line: Line, found: Origins) -> tuple[Held, ...]:
    """The weights of a line, with the places at which they are read."""
    through = _of_nobodys(line, found)
    places: dict[str, set[int]] = {}
    for node, place in line.place.items():
        for name in _union(through, node.all_input_nodes):
            places.setdefault(name, set()).add(place)
    for name in _union(through, line.part.module.graph.output_node().all_input_nodes):
        places.setdefault(name, set()).add(len(line.owned) - 1)
    return tuple(Held(tuple(sorted(read)), _bytes(captured, [name])) for name, read in places.items())


def weight_bytes(captured: Captured, segments: Segments, stages: int, found: Origins) -> tuple[int, ...]:
    """Bytes of the weights of each stage; those that several read are counted for each."""
    wanted: list[set[str]] = [set() for _ in range(stages)]
    for at, part in enumerate(segments.parts):
        wanted[at % stages].update(*(found.get(name, _NONE) for name in part.reads))
    return tuple(_bytes(captured, names) for names in wanted)


def _through(part: Part, found: Origins) -> dict[Node, frozenset[str]]:
    """The origins of each node of a part."""
    made: dict[Node, frozenset[str]] = {}
    for node in part.module.graph.nodes:
        made[node] = (
            found.get(node.name, _NONE) if node.op == "placeholder" else _union(made, node.all_input_nodes)
        )
    return made


def _of_nobodys(line: Line, found: Origins) -> dict[Node, frozenset[str]]:
    """The origins of placeholders, and of operations that every segment makes for itself."""
    made: dict[Node, frozenset[str]] = {}
    for node in line.part.module.graph.nodes:
        if node.op == "placeholder":
            made[node] = found.get(node.name, _NONE)
        elif node in line.common:
            made[node] = _union(made, node.all_input_nodes)
    return made


def _union(made: Mapping[Node, frozenset[str]], nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset().union(*(made.get(node, _NONE) for node in nodes))


def _bytes(captured: Captured, names: Iterable[str]) -> int:
    return sum(captured.weights[name].numel() * captured.weights[name].element_size() for name in names)
