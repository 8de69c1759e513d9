"""A program makes again only what may have changed, and always answers as the whole graph."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from asyncdiff_runtime.engine import Exact, parallelize
from asyncdiff_runtime.engine.graph.program import Program
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.graphs import WIDTH, Hoisting, Ruled, captured, inputs, program
from support.pipelines import tiny
from support.requests import tensor
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

ROWS = 2


def attending(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Text and time in the way of a denoiser: keys that depend on the one, a scale that depends on both."""
    keys = functional.linear(text, net.weight)
    scale = functional.linear((t * text.mean()).sin().expand(ROWS, WIDTH), net.weight)
    return functional.linear(x, net.weight) @ keys.t() @ keys * scale


@pytest.fixture(scope="module")
def graph() -> object:
    return captured(attending)


@pytest.fixture
def hoisted(graph: object) -> Program:
    return program(graph)  # type: ignore[arg-type]  # -- what `captured` gives


def answers(hoisted: Program, *given: list[Tensor]) -> None:
    """Holds the answers to these inputs against those of the rule."""
    for tensors in given:
        with torch.no_grad():
            wanted = attending(Ruled(attending), *tensors)
        assert torch.equal(pytree.tree_leaves(hoisted(tensors))[0], wanted)


def counts(hoisted: Program) -> tuple[int, int, int, int]:
    """Generations made and reused, evaluations made and reused."""
    found = hoisted.reuse
    return (
        found.generations_made,
        found.generations_reused,
        found.evaluations_made,
        found.evaluations_reused,
    )


def test_what_does_not_change_is_made_once(hoisted: Program) -> None:
    x, t, text = inputs()
    answers(hoisted, [x, t, text], [x + 1, t, text], [x, t + 1, text], [x, t, text])
    assert counts(hoisted) == (1, 3, 2, 2)


def test_a_timestep_made_anew_is_the_same_timestep(hoisted: Program) -> None:
    x, _, text = inputs()
    answers(hoisted, *([x, torch.tensor(7.0), text] for _ in range(3)))
    assert counts(hoisted) == (1, 2, 1, 2)


def test_a_timestep_changed_in_place_is_seen_and_may_come_back(hoisted: Program) -> None:
    x, t, text = inputs()
    answers(hoisted, [x, t, text])
    t += 5
    answers(hoisted, [x, t, text])
    t -= 5
    answers(hoisted, [x, t, text])
    assert counts(hoisted) == (1, 2, 2, 1)


@pytest.mark.parametrize("through", ["itself", "a view", "other memory"])
def test_a_prompt_changed_in_place_is_seen(hoisted: Program, through: str) -> None:
    x, t, text = inputs()
    answers(hoisted, [x, t, text])
    match through:
        case "itself":
            text += 1
        case "a view":
            text[:, :1].zero_()
        case _:
            text.data = tensor(3, *text.shape)
    answers(hoisted, [x, t, text])
    assert counts(hoisted)[:2] == (2, 0)


def test_prompts_that_take_turns_are_told_apart(hoisted: Program) -> None:
    x, t, _ = inputs()
    both = tensor(3, 2 * ROWS, WIDTH)
    for _ in range(3):  # rows of one batch, as views made anew each time
        answers(hoisted, [x, t, both[:ROWS]], [x, t, both[ROWS:]])
    assert counts(hoisted)[:2] == (2, 4)


def test_a_prompt_in_the_place_of_one_that_is_gone_is_another(hoisted: Program) -> None:
    x, t, _ = inputs()
    for seed in range(20):  # a freed tensor's memory is the next one's
        answers(hoisted, [x, t, tensor(seed, ROWS, WIDTH)])
    assert counts(hoisted)[:2] == (20, 0)


def test_nothing_is_proven_of_tensors_made_in_inference_mode(hoisted: Program) -> None:
    x, t, _ = inputs()
    with torch.inference_mode():
        text = tensor(3, ROWS, WIDTH)
        answers(hoisted, [x, t, text])
        text += 1
        answers(hoisted, [x, t, text])
    assert counts(hoisted)[:2] == (2, 0)


def test_kept_values_stay_within_the_budget_and_are_freed(graph: object) -> None:
    budget = 4 * ROWS * WIDTH * 4
    hoisted = program(graph, budget)  # type: ignore[arg-type]  # -- what `captured` gives
    x, t, first = inputs()
    gone = weakref.ref(first.untyped_storage())
    answers(hoisted, [x, t, first])
    del first
    for seed in range(5):
        answers(hoisted, [x, t, tensor(seed, ROWS, WIDTH)])
        assert 0 < hoisted.reuse.held_bytes <= budget
    gc.collect()
    assert gone() is None
    hoisted.forget()
    assert hoisted.reuse.held_bytes == 0


def handing_out(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, ...]:
    return x + t, text.sin(), net.weight.cos(), t.view(1), text.t()


def test_an_output_is_the_callers_to_change() -> None:
    hoisted = program(captured(handing_out))
    for _ in range(2):
        given = inputs()
        found = pytree.tree_leaves(hoisted(given))
        assert torch.equal(found[1], given[2].sin())
        assert torch.equal(found[2], Ruled(attending).weight.detach().cos())
        for leaf in found:
            leaf.zero_()


@pytest.mark.parametrize("name", ["sdxl", "flux-true-cfg", "sd3", "controlnet", "wan"])
def test_a_hoisted_pipeline_evaluates_as_its_modules(name: str) -> None:
    row, hoisting = tiny(name), Hoisting()
    pipe = row.build()
    with parallelize(pipe, Exact()) as parallel:
        parallel._session.executor.evaluate = hoisting
        row.result(pipe, seed=0, steps=3)
        row.result(pipe, seed=1, steps=3, prompt=["two boats at dawn, oil on canvas"])
    for one in hoisting.programs.values():
        found = one.reuse
        assert found.generations_made <= 2 * row.branches < found.generations_made + found.generations_reused


def _write_slices(a: Tensor, b: Tensor) -> Tensor:
    made = torch.empty_like(a)
    made[:, 0::2] = b[:, 1::2]
    made[:, 1::2] = a[:, 0::2]
    return made


def _add_in_place(a: Tensor, b: Tensor) -> Tensor:
    return a.add_(b) if a.is_contiguous() else a + b


OF_ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "sine": torch.sin,
    "same": lambda a: functional.dropout(a, 0.3, training=False),
    "view": lambda a: a.reshape(WIDTH, ROWS).view(ROWS, WIDTH),
    "turned": lambda a: a.t().contiguous().t(),
    "broadcast": lambda a: a.mean(0, keepdim=True).expand(ROWS, WIDTH),
    "halves": lambda a: torch.cat(a.chunk(2, 1)[::-1], 1),
    "draw": torch.rand_like,
}
OF_TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "attend": lambda a, b: (a @ b.t()) @ b,
    "slices": _write_slices,
    "in place": _add_in_place,
}

recipes = st.lists(
    st.tuples(st.sampled_from([*OF_ONE, *OF_TWO]), st.integers(0, 20), st.integers(0, 20)),
    min_size=3,
    max_size=12,
)
visits = st.lists(
    st.tuples(
        st.sampled_from(["same", "anew", "next"]),
        st.sampled_from(["same", "view", "in place", "other", "new"]),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


@dataclass
class World:
    """One caller's tensors, changed in step with those of another."""

    timestep: Tensor = field(default_factory=lambda: torch.full((1,), 3.0))
    texts: list[Tensor] = field(default_factory=lambda: [tensor(1, ROWS, WIDTH), tensor(2, ROWS, WIDTH)])

    def visit(self, at: int, time: str, text: str) -> list[Tensor]:
        """The inputs of the next call."""
        if time == "anew":
            self.timestep = self.timestep[0].clone().expand(1)
        elif time == "next":
            self.timestep = self.timestep + 1
        if text == "in place":
            self.texts[0].mul_(0.5)
        elif text == "other":
            self.texts.reverse()
        elif text == "new":
            self.texts[0] = tensor(50 + at, ROWS, WIDTH)
        chosen = self.texts[0]
        return [tensor(70 + at, ROWS, WIDTH), self.timestep, chosen[:] if text == "view" else chosen]


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(recipe=recipes, sequence=visits, budget=st.sampled_from([0, 700, 1 << 20]))
def test_hoisted_and_plain_graphs_agree_whatever_is_done_to_their_inputs(
    recipe: list[tuple[str, int, int]], sequence: list[tuple[str, str, bool]], budget: int
) -> None:
    def rule(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        values = [x, text, t.expand(ROWS, WIDTH).sin(), net.weight[:ROWS] * 2]
        for name, one, other in recipe:
            a, b = values[-1 - one % len(values)], values[other % len(values)]
            values.append(OF_ONE[name](a) if name in OF_ONE else OF_TWO[name](a, b))
        return values[-1] + x, values[len(values) // 2]

    graph = captured(rule)
    hoisted, ours, theirs = program(graph, budget), World(), World()
    for at, (time, text, writes) in enumerate(sequence):
        mine, plain = ours.visit(at, time, text), theirs.visit(at, time, text)
        torch.manual_seed(at)
        found = pytree.tree_leaves(hoisted(mine))
        torch.manual_seed(at)
        with torch.no_grad():
            wanted = graph.graph(*graph.weights.values(), *plain)
        for one, other in zip((*found, *mine), (*wanted, *plain), strict=True):
            assert torch.equal(one, other)
            assert one.stride() == other.stride()
        if writes:
            for leaf in (found[0], wanted[0]):
                leaf.add_(1.0)
