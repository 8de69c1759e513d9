"""What one rank needs of a hoisted graph: the segments of its stage, and what they are made from."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from torch.fx import Graph, GraphModule

from ..graph.aliases import aliases
from ..graph.crossing import leading_to
from ..graph.hoisting import Hoisted
from ..graph.parts import Part, extract


def share(hoisted: Hoisted, segments: Sequence[Part]) -> Hoisted:
    """What some segments of a graph's latent part need of the graph's parts.

    Args:
        hoisted: the whole graph.
        segments: of its latent part.

    Returns:
        The parts, with the operations alone that lead to what the segments read. The latent part is never to be run:
        it has the segments' reads and the whole one's outputs, and no operations.
    """
    read = {name for part in segments for name in part.reads}
    evaluation = _narrowed(hoisted.evaluation, read)
    generation = _narrowed(hoisted.generation, read | set(evaluation.reads))
    constants = _narrowed(hoisted.constants, read | set(evaluation.reads) | set(generation.reads))
    nothing = Graph()
    nothing.output(())
    latent = Part(GraphModule({}, nothing), tuple(sorted(read)), hoisted.latent.gives)
    return replace(hoisted, constants=constants, generation=generation, evaluation=evaluation, latent=latent)


def read_by(hoisted: Hoisted) -> frozenset[str]:
    """Names of all values that the parts of a graph read."""
    return frozenset(name for part in hoisted.parts.values() for name in part.reads)


def _narrowed(part: Part, names: Collection[str]) -> Part:
    """A part that gives no more than these of its values, with the operations that lead to them."""
    graph = part.module.graph
    shared = aliases(graph)
    given = dict.fromkeys(graph.output_node().all_input_nodes)
    gives = [node for node in given if node.name in names]
    homes = {home for node in gives for home in shared.homes[node]}
    roots = set(gives) | {writer for home in homes for writer in shared.writers.get(home, ())}
    nodes = roots | leading_to(roots, shared)
    return extract(graph, {node for node in nodes if node.op != "placeholder"}, gives)
