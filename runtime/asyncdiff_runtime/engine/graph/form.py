"""What of a request a captured graph depends on, and the tensors that it is called with."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..deferred import Deferred
from ..request import Request
from .fingerprint import Fact
from .host_values import HostValue
from .scalars import Lift
from .states import State

_LITERAL = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device})


@dataclass(frozen=True)
class Form:
    """Requests of equal form have one graph: it is all that guards its entry.

    Attributes:
        calls: of each call the structure of its arguments, of each tensor shape, strides, dtype and device, and the
            value of what is no tensor.
        states: of each call's module.
        surroundings: settings of the process.
        assumed: values of tensors, where its modules go by them.
    """

    calls: tuple[Hashable, ...]
    states: tuple[State, ...]
    surroundings: Fact
    assumed: tuple[HostValue, ...] = ()


def flattened(request: Request, lift: Lift) -> tuple[tuple[Hashable, ...], list[Tensor]]:
    """What of the calls a form holds, and their tensors in the order of `joint.tensors_of`."""
    sources = {id(companion): index for index, companion in enumerate(request.companions)}
    calls, tensors = [], []
    for index, call in enumerate(request.calls):
        leaves, tree = pytree.tree_flatten(dict(lift(call, index < len(request.companions))))
        calls.append((tree, tuple(_described(leaf, sources) for leaf in leaves)))
        tensors += _tensors(leaves)
    return tuple(calls), tensors


def _tensors(leaves: Sequence[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Deferred)]


def _described(leaf: Any, sources: dict[int, int]) -> Hashable:
    if isinstance(leaf, Deferred):
        return (sources[id(leaf.source)], leaf.slot)
    if isinstance(leaf, Tensor):
        return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device)
    # True, 1 and 1.0 are equal, and not the same to every operation.
    return (type(leaf), leaf if type(leaf) in _LITERAL else repr(leaf))
