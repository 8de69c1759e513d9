"""Where a denoiser goes by values of its prompt, its graph holds for these values, and is used for no others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine import CaptureRefused
from asyncdiff_runtime.engine.graph.capture import Captured, capture
from asyncdiff_runtime.engine.graph.dependence import Dependence, dependences
from asyncdiff_runtime.engine.graph.host_values import Noting
from asyncdiff_runtime.engine.graph.joint import tensors_of
from asyncdiff_runtime.engine.graph.programs import Programs
from asyncdiff_runtime.engine.request import Request
from support.requests import Generations, counted, request, tensor
from torch import Tensor, nn

Read = Callable[[Tensor, Tensor], Any]


class Reading(nn.Module):
    """Multiplies its latent by what it reads of words and of the mask that says which of them count."""

    def __init__(self, read: Read) -> None:
        super().__init__()
        self.read = read

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, mask: Tensor) -> Any:
        return (sample * self.read(text, mask) + timestep / 1000,)


def counting(*words: int) -> Tensor:
    """A mask of eight words."""
    mask = torch.zeros(8, dtype=torch.bool)
    mask[list(words)] = True
    return mask


def asked(module: nn.Module, seed: int = 0, mask: Tensor | None = None, **given: Any) -> Request:
    words = {"text": tensor(5, 8), "mask": counting(0, 1, 2) if mask is None else mask}
    return request(module, seed, **(words | given))


def captured(of: Request) -> Captured:
    with torch.no_grad(), Noting() as noting:
        of.run()
    return capture(of, noting.noted)


def emptied(text: Tensor, mask: Tensor) -> Tensor:
    rest = text.clone()
    rest[: mask.sum()] = 0
    return rest.sum()


READS: dict[str, Read] = {
    "number": lambda text, mask: text[: mask.sum().item()].sum(),
    "truth": lambda text, mask: text.sum() if mask[2] else text.mean(),
    "whole number": lambda text, mask: text[: int(mask.sum())].sum(),
    "float": lambda text, mask: text.sum() * float(mask.sum()),
    "range": lambda text, mask: sum(text[at] for at in range(mask.sum())),
    "list": lambda text, mask: sum(word for word, counts in zip(text, mask.tolist(), strict=True) if counts),
    "nested list": lambda text, mask: text.sum() * sum(map(sum, mask.view(2, 4).tolist())),
    "array": lambda text, mask: text.sum() * int(mask.numpy().sum()),
    "bound": lambda text, mask: text[: mask.sum()].sum(),
    "bound of what is assigned": emptied,
    "mask": lambda text, mask: text[mask].std(),
    "mask among others": lambda text, mask: text.view(1, 8)[0, mask].std(),
    "places": lambda text, mask: text[mask.nonzero()[:, 0]].std(),
    "places by dimension": lambda text, mask: text[torch.nonzero(mask, as_tuple=True)].std(),
    "repeats": lambda text, mask: text.repeat_interleave(mask.long()).std(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_graph_holds_for_the_values_that_its_modules_went_by(read: Read) -> None:
    module = Reading(read)
    graph = captured(asked(module))
    others = asked(module, seed=1, text=tensor(6, 8))
    assert torch.equal(graph.run(tensors_of(others))[0], others.run()[0])
    assert graph.assumptions.hold(tensors_of(others))
    assert not graph.assumptions.hold(tensors_of(asked(module, mask=counting(0, 1, 3, 4))))


@pytest.mark.parametrize(
    ("read", "varying"),
    [(lambda sample, _: bool(sample.sum() > 0), "latent"), (lambda _, timestep: int(timestep), "timestep")],
    ids=["latent", "timestep"],
)
def test_values_that_each_evaluation_changes_are_refused_by_name(read: Read, varying: str) -> None:
    class Deciding(nn.Module):
        def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Any:
            return (sample * text.sum() * read(sample, timestep),)

    words = rf"test_host_values.py:\d+\) in denoiser \(Deciding\): .* values that depend on the {varying}"
    with pytest.raises(CaptureRefused, match=words):
        captured(request(Deciding()))


def test_a_shape_that_hangs_on_values_is_refused_with_the_operation() -> None:
    module = Reading(lambda _, mask: mask.unique().numel())
    words = (
        r"\(test_host_values.py:\d+\) in denoiser \(Reading\): the shape of what aten._unique2.default gives"
    )
    with pytest.raises(CaptureRefused, match=words):
        captured(asked(module))


def test_what_is_written_after_it_was_read_counts_as_it_was() -> None:
    def read(text: Tensor, mask: Tensor) -> Tensor:
        rest = mask.clone()
        length = int(rest.sum())
        rest.zero_()
        return text[:length].sum() + rest.sum()

    module = Reading(read)
    graph = captured(asked(module))
    assert [value.numbers for value in graph.assumptions.values] == [(3,)]
    assert graph.assumptions.hold(tensors_of(asked(module)))


def test_values_that_follow_from_other_values_are_assumed_with_them() -> None:
    def read(text: Tensor, mask: Tensor) -> Tensor:
        chosen = text[: int(mask.sum())].view(3, -1)  # of four words there is no such view
        return text.sum() if chosen[-1] > 0 else text.mean()

    graph = captured(asked(Reading(read)))
    assert len(graph.assumptions.values) == 2
    for mask in (counting(0), counting(0, 1, 2, 3)):
        assert not graph.assumptions.hold(tensors_of(asked(Reading(read), mask=mask)))


def test_numbers_that_a_forward_makes_tensors_of_are_constants() -> None:
    def read(text: Tensor, mask: Tensor) -> Tensor:
        factor = torch.tensor(3)
        return text.sum() * factor if factor > 2 else text[mask]

    graph = captured(asked(Reading(read)))
    assert graph.assumptions.values == ()
    assert set(dependences(graph).values()) >= {Dependence.WEIGHTS, Dependence.GENERATION}
    factors = [node for node in graph.graph.graph.nodes if "lift_fresh" in node.name]
    assert factors
    assert {dependences(graph)[node] for node in factors} == {Dependence.WEIGHTS}


def test_what_torch_vmap_shows_one_by_one_is_captured_as_a_whole() -> None:
    module = Reading(lambda text, mask: torch.vmap(lambda word, counts: word * counts)(text, mask).sum())
    graph = captured(asked(module))
    others = asked(module, seed=1, mask=counting(4))
    assert torch.equal(graph.run(tensors_of(others))[0], others.run()[0])


@pytest.fixture
def generations() -> Generations:
    return Generations(Programs(lambda captured: lambda tensors, _: captured.run(tensors)))


def test_each_length_of_the_first_generation_has_its_graph(generations: Generations) -> None:
    module = Reading(READS["number"])
    masks = [counting(0), counting(0, 1)]
    both = [lambda mask=mask, seed=seed: asked(module, seed, mask) for seed in range(3) for mask in masks]
    assert generations.captures(*both) == 2
    assert generations.captures(*both) == 0
    with counted(module) as calls:
        assert generations.captures(*both) == 0
    assert len(calls) == len(both), "those that `captures` compares the answers with"


def test_a_later_length_has_a_graph_when_it_comes_again(generations: Generations) -> None:
    module = Reading(READS["number"])

    def generation(*words: int) -> int:
        return generations.captures(*(lambda s=seed: asked(module, s, counting(*words)) for seed in range(3)))

    assert generation(0) == 1
    assert [generation(0, 1), generation(0, 2, 3), generation(3)] == [0, 0, 0]
    assert not generations.tally.notes, "one word is what the first generation had"
    assert generation(4, 5) == 1, "two words came in the second generation"
    assert generation(0, 1, 2, 3) == 0
    assert any("until they come again" in note for note in generations.tally.notes)
