"""Costs are those that are worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine.call import Call
from asyncdiff_runtime.engine.graph.capture import Captured, capture
from asyncdiff_runtime.engine.graph.cost import (
    FREE,
    Cost,
    by_dependence,
    by_module,
    costs,
    distinct_bytes,
    total,
)
from asyncdiff_runtime.engine.graph.dependence import Dependence, dependences
from asyncdiff_runtime.engine.graph.kernels import kernels, peak_bytes
from asyncdiff_runtime.engine.graph.tally import Tally
from asyncdiff_runtime.engine.request import Request
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

F32 = 4
"""Bytes of a float32."""


class Denoiser(nn.Module):
    """Calls one module with the latent; time is added at the end, where it costs little."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        result: Tensor = self.inner(sample) + timestep
        return result


def captured_call(inner: nn.Module, *shape: int) -> Captured:
    denoiser = Denoiser(inner)
    arguments = {"sample": torch.zeros(shape), "timestep": torch.zeros(1)}
    return capture(Request(Call.of(denoiser, denoiser.forward, arguments)))


def products(captured: Captured) -> list[Cost]:
    return [cost for cost in costs(captured).values() if cost.flops]


class Attention(nn.Module):
    """Every head reads the whole sequence; `(batch, heads, tokens, channels)`."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x[:, :, :3], x[:, :, :3])


def test_a_linear_layer_multiplies_each_row_by_each_column() -> None:
    (cost,) = products(captured_call(nn.Linear(5, 7), 3, 5))
    weights = (5 * 7 + 7) * F32
    assert cost == Cost(2 * 3 * 5 * 7, 3 * 5 * F32 + weights + 3 * 7 * F32, weights)


def test_a_convolution_multiplies_each_output_by_its_window() -> None:
    (cost,) = products(captured_call(nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=False), 2, 4, 8, 8))
    outputs = 2 * 6 * 4 * 4
    weights = 6 * 4 * 3 * 3 * F32
    assert cost == Cost(2 * outputs * 4 * 3 * 3, 2 * 4 * 8 * 8 * F32 + weights + outputs * F32, weights)


def test_attention_multiplies_queries_by_keys_and_scores_by_values() -> None:
    (cost,) = products(captured_call(Attention(), 2, 4, 5, 16))
    queries, keys = 2 * 4 * 5 * 16, 2 * 4 * 3 * 16
    assert cost.flops == 2 * (2 * 4 * 5 * 3 * 16) * 2
    assert cost.bytes == (queries + 2 * keys + queries) * F32  # scores never reach memory


def test_views_are_free_and_broadcast_values_are_read_once() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(0, 1).unsqueeze(0).chunk(2, dim=1)[0].expand(10, -1, -1)

    captured = captured_call(Views(), 4, 6)
    spent = {str(node.target): cost for node, cost in costs(captured).items() if cost != FREE}
    read, written = 3 * 4 * F32 + F32, 10 * 3 * 4 * F32
    assert spent == {"aten.add.Tensor": Cost(0, read + written)}


def test_an_embedding_reads_no_more_of_its_table_than_it_gives() -> None:
    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(1000, 8)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.table(x.long())
            return found

    found = costs(captured_call(Lookup(), 5))
    (cost,) = (cost for node, cost in found.items() if "embedding" in str(node.target))
    assert cost.bytes == 2 * 5 * 8 * F32


def test_what_is_written_in_place_is_not_free() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 2).add_(1.0)

    found = costs(captured_call(InPlace(), 16))
    assert [cost.bytes for node, cost in found.items() if "add_" in str(node.target)] == [2 * 16 * F32]


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.GELU(), nn.Linear(8, 8)))


def test_costs_add_up_by_module_and_by_what_they_depend_on() -> None:
    captured = captured_call(two_layers(), 4, 8)
    found = costs(captured)
    whole = total(found.values())

    by_path = by_module(found, 3)
    assert total(by_path.values()) == whole
    assert by_path["denoiser.inner.0"].flops == by_path["denoiser.inner.1"].flops == 2 * 4 * 8 * 8
    assert set(by_module(found, 1)) == {"denoiser", ""}  # what its own forward does has no path

    classes = by_dependence(found, dependences(captured))
    assert total(classes.values()) == whole
    assert classes[Dependence.LATENT].flops == whole.flops


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 10**6), st.integers(0, 10**6))
def test_fewer_rows_cost_their_share_and_read_all_weights(
    rows: int, whole: int, flops: int, weights: int
) -> None:
    cost = Cost(flops * whole, weights + 10 * whole, weights)
    assert cost.of_rows(rows, whole) == Cost(flops * rows, weights + 10 * rows, weights)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_reading_an_expanded_tensor_touches_what_there_is_of_it(sizes: list[int]) -> None:
    tensor = torch.zeros(sizes)
    assert distinct_bytes(tensor) == tensor.numel() * F32
    assert distinct_bytes(tensor.unsqueeze(0).expand(7, *sizes)) == tensor.numel() * F32


def test_pointwise_operations_between_products_are_one_kernel() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            result: Tensor = self.second((y * 2).relu() + y) + y
            return result

    captured = captured_call(Chain(), 4, 8)
    found = kernels(captured, costs(captured))
    size = 4 * 8 * F32
    # first; ×2, relu and + y; second; + y and + timestep
    assert [bool(kernel.cost.flops) for kernel in found] == [True, False, True, False]
    assert found[1].cost.bytes == 2 * size  # y is read once, the sum written
    assert found[3].cost.bytes == 3 * size + F32  # two values and the timestep are read, one is written


def test_memory_holds_what_is_still_to_be_read() -> None:
    class Chain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            wide = x.repeat(1, 10)
            return wide.sum(1, keepdim=True) + x

    size = 4 * 8 * F32
    # x and what it was repeated to; views and weights take nothing
    assert peak_bytes(captured_call(Chain(), 4, 8)) == size + 10 * size + F32 + 4 * F32
    assert peak_bytes(captured_call(nn.Flatten(), 4, 8)) == size + F32 + size


@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 8)])
def test_a_run_without_a_graph_counts_the_same_arithmetic(shape: tuple[int, ...]) -> None:
    module: Any = two_layers()
    with torch.no_grad(), Tally() as tally:
        module(torch.zeros(shape))
    whole = total(costs(captured_call(two_layers(), *shape)).values())
    assert total(tally.costs).flops == whole.flops


def test_a_run_without_a_graph_holds_what_is_alive() -> None:
    with Tally() as tally:
        large = torch.zeros(1000)
        small = large.view(10, 100)[0].clone()
        del large
        small + 1
    assert tally.peak_bytes == 1100 * F32
