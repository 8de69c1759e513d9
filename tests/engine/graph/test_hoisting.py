"""What is taken out of the loop, and what is better made again in it."""

import json

import pytest
import torch
from asyncdiff_runtime.engine.graph.dependence import Dependence
from asyncdiff_runtime.engine.graph.hoisting import Hoisted, hoist
from rich.console import Console
from support.graphs import WIDTH, Rule, Ruled, captured, operations
from torch import Tensor
from torch.nn import functional

AMPLE = 1 << 30
ROW = WIDTH * 4
"""Bytes."""


def hoisted(rule: Rule, budget_bytes: int = AMPLE) -> Hoisted:
    return hoist(captured(rule), budget_bytes)


def keys(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Keys of three blocks, each also read the other way round."""
    for _ in range(3):
        text = functional.linear(text, net.weight)
        x = (x @ text.t()) @ text
    return x * t.sin()


def broadcast(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    return x * text.sin().mean(0, keepdim=True).expand(2, WIDTH)


def repeated(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    return x.repeat(1, 5000) * text.sin().repeat(1, 5000)


def wider_weights(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    many = net.weight.bfloat16().repeat(40, 40)
    return x.sum() * many.float()


def product_of_weights(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    return x @ (net.weight @ net.weight.t())


def checked(net: Ruled, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    torch._assert_async(text.sum() < 1e9, "a prompt out of bounds")
    return x + 1


def test_a_class_that_gets_no_part_of_its_own_is_made_in_the_loop() -> None:
    found = hoist(captured(keys), AMPLE, {Dependence.WEIGHTS, Dependence.GENERATION})
    assert operations(found.generation).count("linear") == 3
    assert operations(found.evaluation) == []
    assert operations(found.latent).count("sin") == 1
    assert "linear" not in operations(found.latent)


def test_the_loop_keeps_what_depends_on_the_latent_and_the_values_it_reads_are_held_once() -> None:
    found = hoisted(keys)
    assert operations(found.generation).count("linear") == 3
    assert operations(found.evaluation) == ["sin"]
    assert not {"linear", "sin"} & set(operations(found.latent))
    assert found.report.held_bytes == 3 * 2 * ROW + 4
    assert found.report.classes[Dependence.GENERATION].again == 3, "the transposed keys, which cost nothing"


def test_a_broadcast_is_made_where_it_is_read() -> None:
    found = hoisted(broadcast)
    assert operations(found.latent) == ["expand", "mul"]
    assert found.report.held_bytes == ROW


def test_a_repetition_is_made_where_it_is_read() -> None:
    found = hoisted(repeated)
    assert operations(found.generation) == ["sin"]
    assert found.report.held_bytes == 2 * ROW


def test_weights_are_not_held_in_a_wider_type() -> None:
    found = hoisted(wider_weights)
    assert found.report.held_bytes < WIDTH * WIDTH * 1600 * 2
    assert "to" in " ".join(operations(found.latent))


def test_what_follows_from_weights_alone_is_made_once() -> None:
    found = hoisted(product_of_weights)
    assert operations(found.latent) == ["matmul"]
    assert "matmul" in operations(found.constants)


def test_a_check_of_values_is_not_lost() -> None:
    assert "_assert_async" in operations(hoisted(checked).latent)


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_a_budget_is_kept_and_used(blocks: int) -> None:
    budget = 4 + blocks * 2 * ROW
    found = hoisted(keys, budget)
    assert found.report.held_bytes <= budget
    assert operations(found.latent).count("linear") <= 3 - blocks + (blocks > 0)


def test_figures_add_up_and_are_plain_data() -> None:
    report = hoisted(keys).report
    shares = [figures.flops_share for figures in report.classes.values()]
    assert sum(shares) == pytest.approx(1.0)
    assert report.gain > 1.0
    told = json.loads(json.dumps(report.as_json()))
    assert told["classes"]["generation"]["flops"] == 3 * 2 * 2 * WIDTH * WIDTH
    console = Console(width=120)
    with console.capture() as shown:
        console.print(report)
    assert "generation" in shown.get()
