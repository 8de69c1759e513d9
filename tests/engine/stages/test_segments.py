"""Segments that run one after the other give what the whole graph gives, bit for bit, wherever it is cut."""

from collections.abc import Callable

import pytest
import torch
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.stages.line import Line, depending_on_the_latent, line
from asyncdiff_runtime.engine.stages.segments import Segments, divide
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.captures import Graph, graph_of
from support.graphs import WIDTH, Rule, Ruled, asked, captured, inputs, operations, program
from support.segments import one_by_one
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

PIPELINES = ("controlnet", "flux-true-cfg", "wan")


def in_halves(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Lists and views of what an earlier operation gave, read by later ones."""
    hidden = functional.linear(x * t.sin(), net.weight)
    left, right = hidden.chunk(2, 1)
    turned = hidden.t()
    for _ in range(3):
        hidden = hidden @ net.weight + text
    mixed = torch.cat([right, left], 1) * hidden
    return mixed + (turned.reshape(2, WIDTH) if mixed.ndim == 2 else mixed) @ net.weight


def written(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, ...]:
    """Memory that is filled through its slices, read in between, added to in place, and read much later."""
    made = torch.empty_like(x)
    made[:, 0::2] = x[:, 1::2].sin()
    early = made[:, 0::2] * 2
    made[:, 1::2] = x[:, 0::2] * t
    view = made[:, : WIDTH // 2]
    hidden = functional.linear(made, net.weight)
    hidden += text
    late = functional.linear(hidden, net.weight).cos()
    return late + made.sum() + view.mean(), early.tanh()


def broadcast_and_half(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """A broadcast of a mean and half of a product, both read at the end."""
    wide = x.sin().mean(1, keepdim=True).expand(2, WIDTH)
    half = functional.linear(x, net.weight)[:, : WIDTH // 2]
    between = functional.linear(x, net.weight).relu()
    return torch.cat([half, between], 1)[:, :WIDTH] * wide


def table_in_place(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """A table of the timestep, filled through its slices, that operations far apart read."""
    table = torch.empty(2, WIDTH)
    table[:, 0::2] = t.sin() * net.weight[:2, 1::2]
    table[:, 1::2] = t.cos()
    for _ in range(3):
        x = functional.linear(x * table, net.weight)
    return x + table.repeat(1, 3)[:, :WIDTH]


RULES: dict[str, Rule] = {
    "lists and views": in_halves,
    "written in place": written,
    "a table": table_in_place,
}


@pytest.fixture(scope="module", params=PIPELINES)
def graph(request: pytest.FixtureRequest) -> Graph:
    return graph_of(request.param)


def of_rule(rule: Rule) -> tuple[Program, Line]:
    graph = captured(rule)
    return program(graph, 0), line(hoist(graph, 0).latent, depending_on_the_latent(graph))


def evenly(found: Line, count: int) -> list[int]:
    """That many boundaries, evenly over those that there are."""
    allowed = found.boundaries
    return [allowed[len(allowed) * at // (count + 1)] for at in range(1, count + 1)]


def assert_equal(ours: object, theirs: object) -> None:
    for one, other in zip(pytree.tree_leaves(ours), pytree.tree_leaves(theirs), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_a_staged_denoiser_evaluates_as_its_modules(graph: Graph) -> None:
    found = graph.line
    with torch.no_grad():
        wanted = graph.requests[-1].run()
    for count in (1, 3, 8):
        segments = divide(found, evenly(found, count))
        assert_equal(one_by_one(graph.program, segments, graph.tensors(-1)), wanted)


def test_only_tensors_travel_and_each_is_counted_in_its_bytes(graph: Graph) -> None:
    found = graph.line
    segments = divide(found, evenly(found, 4))
    values = {node.name: node.meta.get("val") for node in graph.hoisted.latent.module.graph.nodes}
    assert segments.edges
    for edge in segments.edges:
        value = values[edge.value]
        assert isinstance(value, Tensor)
        assert edge.bytes == value.numel() * value.element_size()


@pytest.fixture(scope="module")
def ruled() -> dict[str, tuple[Program, Line]]:
    return {name: of_rule(rule) for name, rule in RULES.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(RULES)), data=st.data())
def test_a_graph_may_be_cut_anywhere(
    ruled: dict[str, tuple[Program, Line]], name: str, data: st.DataObject
) -> None:
    made, found = ruled[name]
    boundaries = data.draw(st.sets(st.sampled_from((0, *found.boundaries)), max_size=6).map(sorted))
    segments = divide(found, boundaries)
    given_values = inputs(seed=data.draw(st.integers(0, 3)))
    with torch.no_grad():
        wanted = asked(RULES[name], given_values).run()
    assert_equal(one_by_one(made, segments, given_values), wanted)


def test_what_is_written_in_place_is_never_cut_apart() -> None:
    _, found = of_rule(written)
    for boundary in found.boundaries:
        segments = divide(found, [boundary])
        homes = [{"empty_like", "copy_"} & set(operations(part)) for part in segments.parts]
        assert sum(map(bool, homes)) == 1, boundary
    assert len(found.boundaries) < len(found.owned) - 1
    with pytest.raises(ValueError, match="cannot be cut at"):
        divide(found, [next(at for at in range(1, len(found.owned)) if not found.whole[at])])


def test_what_does_not_depend_on_the_latent_is_never_old() -> None:
    _, found = of_rule(table_in_place)
    segments = divide(found, found.boundaries)
    assert {edge.value.rsplit("_", 1)[0] for edge in segments.edges} <= {"linear", "mul"}


def test_the_smallest_travels_that_a_value_can_be_made_from() -> None:
    _, found = of_rule(broadcast_and_half)
    edges = [edge for boundary in found.boundaries for edge in divide(found, [boundary]).edges]
    assert not any(edge.value.startswith("expand") for edge in edges)
    assert {"mean": 2 * 4, "slice_1": WIDTH * 4}.items() <= {edge.value: edge.bytes for edge in edges}.items()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_ranks_agree_by_a_hash_and_tell_other_cuts_apart(rule: Rule) -> None:
    def digest(at: Callable[[Line], list[int]]) -> str:
        _, found = of_rule(rule)
        segments: Segments = divide(found, at(found))
        return segments.digest()

    assert digest(lambda found: evenly(found, 2)) == digest(lambda found: evenly(found, 2))
    assert digest(lambda found: evenly(found, 2)) != digest(lambda found: evenly(found, 1))
