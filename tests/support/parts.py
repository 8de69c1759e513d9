"""Parts of graphs made from plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from asyncdiff_runtime.engine.graph.parts import Part, extract
from torch import Tensor, nn
from torch.fx import Node


class _Function(nn.Module):
    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        return self._function(*values)


def part_of(function: Callable[..., tuple[Tensor, ...]], examples: Sequence[Tensor]) -> Part:
    """A function of tensors that gives a tuple of computed ones, as a part; it reads all its arguments in order."""
    with torch.no_grad():
        graph = torch.export.export(_Function(function), tuple(examples), strict=False).graph
    nodes = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    outputs = graph.output_node().args[0]
    assert isinstance(outputs, list | tuple)
    gives = [node for node in outputs if isinstance(node, Node)]
    return extract(graph, nodes, gives)


def block(weight: Tensor, x: Tensor, text: Tensor) -> tuple[Tensor, ...]:
    """What denoisers are made of: convolution, group norm, an activation and attention."""
    made = nn.functional.silu(nn.functional.group_norm(nn.functional.conv2d(x, weight, padding=1), 2))
    return nn.functional.scaled_dot_product_attention(made.flatten(2), text, text), made.mean((2, 3))


def block_values(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Arguments of `block`: a weight, a latent and a text of one row for all."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    return [noise(4, 4, 3, 3), noise(2, 4, 8, 8), noise(1, 6, 64).expand(2, 6, 64)]
