"""Predictions follow the machine, and say how far off they may be."""

from __future__ import annotations

import pytest
import torch
from asyncdiff_runtime.engine.graph.cost import Cost
from asyncdiff_runtime.engine.graph.machines import MACHINES, machine
from asyncdiff_runtime.engine.graph.roofline import COMPILED, EAGER, Efficiency, predicted

H200 = machine("H200")
BF16 = torch.bfloat16


@pytest.mark.parametrize(
    ("name", "meant"),
    [("h200", "H200"), ("H100", "H100 SXM"), ("a100-40gb", "A100 40GB"), ("rtx4090", "RTX 4090")],
)
def test_machines_are_known_by_the_names_people_write(name: str, meant: str) -> None:
    assert machine(name).name == meant


@pytest.mark.parametrize("name", ["", "-", "H300"])
def test_an_unknown_machine_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(KeyError, match="MI300X"):
        machine(name)


@pytest.mark.parametrize("one", MACHINES, ids=lambda one: one.name)
def test_a_machine_says_where_its_figures_are_from_and_they_are_plausible(one: object) -> None:
    found = next(known for known in MACHINES if known is one)
    assert found.source
    assert found.flops[torch.float16] >= found.flops[torch.float32]
    assert 10**10 < found.memory_bytes < 10**12
    assert found.bandwidth > found.link > 10**10


def test_a_large_product_takes_its_arithmetic_and_a_copy_its_traffic() -> None:
    product = predicted([Cost(10**13, 10**6)], H200, BF16, COMPILED)
    copied = predicted([Cost(0, 10**10)], H200, BF16, COMPILED)
    overhead = COMPILED.kernel_seconds
    assert product.expected == pytest.approx(10**13 / (989e12 * COMPILED.arithmetic) + overhead)
    assert copied.expected == pytest.approx(10**10 / (4.8e12 * COMPILED.memory) + overhead)


def test_many_small_operations_wait_for_the_host() -> None:
    found = predicted([Cost(100, 100)] * 1000, H200, BF16, EAGER)
    assert found.expected == pytest.approx(1000 * EAGER.host_seconds)


@pytest.mark.parametrize("efficiency", [COMPILED, EAGER])
def test_a_machine_that_was_not_measured_has_a_wider_range(efficiency: Efficiency) -> None:
    measured, other = (
        predicted([Cost(10**12, 10**9)], one, BF16, efficiency) for one in (H200, machine("H100"))
    )
    assert measured.low < measured.expected < measured.high
    assert other.high / other.low > measured.high / measured.low


def test_a_type_that_a_machine_lacks_is_refused() -> None:
    with pytest.raises(KeyError, match="T4 does not compute in bfloat16"):
        predicted([Cost(1, 1)], machine("T4"), BF16, COMPILED)
