"""Dividing one evaluation among groups of ranks: guidance branches, then rows of the batch.

The work of an evaluation is a line of rows, one request after the other: [cond, uncond] in one batch, or the
branches that a pipeline asks for in separate calls. Each group takes a contiguous run of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .request import Request
from .rounding import distance

_ALIGNMENT = 16  # bytes; every dtype can be viewed at such an offset


@dataclass(frozen=True)
class Part:
    """Some rows of one of an evaluation's requests."""

    request: int
    start: int
    stop: int


def divide(rows: Sequence[int], groups: int, *, whole: bool) -> list[list[Part]]:
    """The parts of each group.

    Args:
        rows: rows of each request.
        groups: groups to divide among; some get nothing where there is too little.
        whole: requests must not be cut into rows.
    """
    if whole:
        bounds = [round(len(rows) * group / groups) for group in range(groups + 1)]
        return [
            [Part(index, 0, rows[index]) for index in range(begin, end)] for begin, end in pairwise(bounds)
        ]
    total = sum(rows)
    bounds = [total * group // groups for group in range(groups + 1)]
    parts: list[list[Part]] = []
    for begin, end in pairwise(bounds):
        parts.append([])
        offset = 0
        for index, count in enumerate(rows):
            start, stop = max(begin - offset, 0), min(end - offset, count)
            if start < stop:
                parts[-1].append(Part(index, start, stop))
            offset += count
    return parts


@dataclass(frozen=True, eq=False)
class OutputForm:
    """Structure and layout of a request's output, so that ranks that did not make it can hold it.

    Strides are kept: a pipeline that sums over a prediction (to rescale guidance, say) would add up in
    another order over another memory layout.
    """

    tree: pytree.TreeSpec
    shapes: tuple[torch.Size, ...]
    strides: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    rows: int

    @classmethod
    def of(cls, output: Any, rows: int) -> "OutputForm":
        """The form of an output of a request with `rows` rows."""
        leaves, tree = pytree.tree_flatten(output)
        return cls(
            tree,
            tuple(leaf.shape for leaf in leaves),
            tuple(leaf.stride() for leaf in leaves),
            tuple(leaf.dtype for leaf in leaves),
            rows,
        )

    def by_row(self) -> bool:
        """Whether every tensor of the output can be cut into the request's rows."""
        return all(len(shape) > 0 and shape[0] % self.rows == 0 for shape in self.shapes)

    def shapes_of(self, part: Part) -> list[tuple[int, ...]]:
        """Shapes of a part of the output."""
        if (part.start, part.stop) == (0, self.rows):
            return [tuple(shape) for shape in self.shapes]
        share = part.stop - part.start
        return [(shape[0] // self.rows * share, *shape[1:]) for shape in self.shapes]

    def bytes_of(self, part: Part) -> int:
        """Packed size of a part."""
        return sum(_padded(_bytes(s, d)) for s, d in zip(self.shapes_of(part), self.dtypes, strict=True))

    def pack(self, output: Any, into: Tensor) -> None:
        """Writes a part's output to the start of a byte buffer."""
        offset = 0
        for leaf in pytree.tree_leaves(output):
            size = leaf.numel() * leaf.element_size()
            into[offset : offset + size].view(leaf.dtype).view(leaf.shape).copy_(leaf)
            offset += _padded(size)

    def unpack(self, buffer: Tensor, part: Part) -> list[Tensor]:
        """The tensors of a part, as views of the start of a byte buffer."""
        leaves, offset = [], 0
        for shape, dtype in zip(self.shapes_of(part), self.dtypes, strict=True):
            size = _bytes(shape, dtype)
            leaves.append(buffer[offset : offset + size].view(dtype).view(shape))
            offset += _padded(size)
        return leaves

    def join(self, parts: Sequence[Sequence[Tensor]]) -> Any:
        """The whole output from the tensors of its parts, in order of their rows."""
        leaves = []
        for shape, stride, tensors in zip(self.shapes, self.strides, zip(*parts, strict=True), strict=True):
            whole = torch.empty_strided(shape, stride, dtype=tensors[0].dtype, device=tensors[0].device)
            leaves.append(torch.cat(tensors, out=whole) if len(tensors) > 1 else whole.copy_(tensors[0]))
        return pytree.tree_unflatten(leaves, self.tree)


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the parts of an evaluation lie in the bytes that each group sends.

    Attributes:
        forms: of each request's output.
        groups: the parts of each group with their offsets, in bytes.
        size: bytes that a group sends, the same for all.
    """

    forms: tuple[OutputForm, ...]
    groups: tuple[tuple[tuple[Part, int], ...], ...]
    size: int

    @classmethod
    def of(cls, forms: Sequence[OutputForm], parts: Sequence[Sequence[Part]]) -> "Frame":
        """Lays each group's parts out one behind the other."""
        groups, largest = [], 0
        for mine in parts:
            offset, placed = 0, []
            for part in mine:
                placed.append((part, offset))
                offset += forms[part.request].bytes_of(part)
            groups.append(tuple(placed))
            largest = max(largest, offset)
        return cls(tuple(forms), tuple(groups), largest)

    def fill(
        self, group: int, requests: Sequence[Request], buffer: Tensor, evaluate: Callable[[Request], Any]
    ) -> None:
        """Evaluates a group's parts on this rank by `evaluate` and writes their outputs into its bytes."""
        for part, offset in self.groups[group]:
            output = evaluate(requests[part.request].take(part.start, part.stop))
            self.forms[part.request].pack(output, buffer[offset:])

    def join(self, buffers: Sequence[Tensor]) -> list[Any]:
        """The outputs of all requests from the bytes of all groups."""
        pieces: list[list[list[Tensor]]] = [[] for _ in self.forms]
        for placed, buffer in zip(self.groups, buffers, strict=True):
            for part, offset in placed:
                pieces[part.request].append(self.forms[part.request].unpack(buffer[offset:], part))
        return [form.join(parts) for form, parts in zip(self.forms, pieces, strict=True)]


def difference(split: Any, whole: Any) -> float:
    """Largest relative difference ‖split − whole‖ / ‖whole‖ over the tensors of two outputs."""
    return max(map(distance, pytree.tree_leaves(split), pytree.tree_leaves(whole)))


def tolerance(dtype: torch.dtype) -> float:
    """How far a batch evaluated in parts may lie from the same batch evaluated whole, relative.

    Another batch size chooses other kernels and another order of summation; rows that really mix differ by
    a hundred times more.
    """
    return {torch.float64: 1e-9, torch.float32: 1e-4}.get(dtype, 3e-2)


def _bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    return torch.Size(shape).numel() * dtype.itemsize


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
