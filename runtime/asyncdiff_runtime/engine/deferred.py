"""Placeholders for what a ControlNet will give, so that it can be evaluated together with its denoiser.

A pipeline calls its ControlNet before the denoiser and passes the residuals on. The hook on the ControlNet
answers with placeholders; the hook on the denoiser recognises them and asks both modules as one request.
A pipeline that alters the residuals on the way (guess mode) touches a placeholder: it then becomes the real
tensor, at the price of an evaluation on every rank.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Form:
    """Shape, dtype and device of a tensor."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> "Form":
        """The form of a tensor."""
        return cls(tensor.shape, tensor.dtype, tensor.device)


class Source(Protocol):
    """What placeholders stand for: a module call that is evaluated at most once."""

    def outputs(self) -> Sequence[Tensor]:
        """All tensors of the module's output."""


class Deferred(Tensor):
    """Stands for one tensor of a module's output; any operation on it works on the real one.

    Attributes:
        slot: its place among the output's tensors.
        source: gives all of the output's tensors.
    """

    slot: int
    source: Source

    @staticmethod
    def of(slot: int, form: "Form", source: Source) -> "Deferred":
        """A placeholder for a tensor of the given form."""
        placeholder: Deferred = Tensor._make_wrapper_subclass(  # noqa: SLF001 -- the documented way to a wrapper
            Deferred, form.shape, dtype=form.dtype, device=form.device
        )
        placeholder.slot = slot
        placeholder.source = source
        return placeholder

    def materialised(self) -> Tensor:
        """The real tensor."""
        return self.source.outputs()[self.slot]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # -- torch names it Any
        return f"Deferred(slot={self.slot}, shape={tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # -- torch declares a function here, and documents a classmethod
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[Any, Any] | None = None,
    ) -> Any:
        real_args, real_kwargs = pytree.tree_map_only(Deferred, Deferred.materialised, (args, kwargs or {}))
        return func(*real_args, **real_kwargs)


def filled(value: Any, outputs: Mapping[int, Sequence[Tensor]]) -> Any:
    """`value` with each placeholder replaced by its tensor among the `outputs` of its source (by `id`)."""

    def fill(leaf: Any) -> Any:
        return outputs[id(leaf.source)][leaf.slot] if isinstance(leaf, Deferred) else leaf

    return pytree.tree_map(fill, value)
