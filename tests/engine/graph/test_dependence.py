"""Every value of a graph has the class of the quickest that it depends on."""

import pytest
import torch
from asyncdiff_runtime.engine.graph.dependence import Dependence
from support.graphs import WIDTH, Rule, Ruled, captured, classes
from torch import Tensor
from torch.nn import functional

WEIGHTS, GENERATION, EVALUATION, LATENT = Dependence


def written_by_slices(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """As rotary embeddings are made in Wan, LTX and CogVideoX."""
    rotated = torch.empty_like(text)
    rotated[:, 0::2] = text[:, 1::2].sin()
    rotated[:, 1::2] = x[:, 0::2].cos()
    return rotated.exp() + x


def read_between_two_writings(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Hoisted by its own class, the sum would see the second writing before the first was read."""
    mask = torch.zeros_like(text)
    before = (mask + t).cos()
    mask += text.sin()
    return x * before * mask


def filled_by_text(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """As HunyuanVideo makes its mask."""
    mask = torch.zeros(2, WIDTH)
    mask[:, :3].fill_(1.0)
    return x * mask.exp() * text.sin()


def written_into_the_prompt(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    text.add_(1.0)
    return x * text.sin()


def drawn(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    return x * torch.rand_like(text).sin()


def without_dropout(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    kept = functional.dropout(text, 0.5, training=False)
    seen = functional.scaled_dot_product_attention(kept[None], kept[None], kept[None])
    return x * seen[0].exp()


def of_all_classes(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    return x.exp() * (net.weight.sin().mean() + text.cos() + (t * text.mean()).tanh())


def handed_out(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    return x + 1.0, text.cos().view(WIDTH, 2)


CLAIMS: list[tuple[Rule, dict[str, Dependence]]] = [
    (of_all_classes, {"sin": WEIGHTS, "cos": GENERATION, "tanh": EVALUATION, "exp": LATENT}),
    (written_by_slices, {"sin": GENERATION, "empty_like": LATENT, "copy_": LATENT, "exp": LATENT}),
    (read_between_two_writings, {"zeros_like": EVALUATION, "add_": EVALUATION, "sin": GENERATION}),
    (filled_by_text, {"zeros": WEIGHTS, "fill_": WEIGHTS, "exp": WEIGHTS, "sin": GENERATION}),
    (written_into_the_prompt, {"add_": LATENT, "sin": LATENT}),
    (drawn, {"rand_like": LATENT, "sin": LATENT}),
    (without_dropout, {"dropout": GENERATION, "scaled_dot_product_attention": GENERATION, "exp": GENERATION}),
    (handed_out, {"cos": LATENT, "view": LATENT}),
]


@pytest.mark.parametrize(("rule", "wanted"), CLAIMS, ids=[rule.__name__ for rule, _ in CLAIMS])
def test_a_value_has_the_class_of_the_quickest_it_depends_on(
    rule: Rule, wanted: dict[str, Dependence]
) -> None:
    found = classes(captured(rule))
    assert {name: found[name] for name in wanted} == wanted
