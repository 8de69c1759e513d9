"""Where in a generation a denoiser call stands, read from what the pipeline does anyway.

Schedulers are never patched: a copied or replaced scheduler would lose the patch. Each pipeline call sets
its scheduler's timesteps anew, so another `timesteps` tensor is another generation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_Form = Callable[[Tensor, torch.dtype], Tensor]

# How pipelines turn a scheduler's timestep into the denoiser's argument. Several give the same number but
# not the same bits, so each is tried against the argument that was really passed.
_FORWARD: tuple[_Form, ...] = (
    lambda t, dtype: t.to(dtype),
    lambda t, dtype: t.to(dtype) / 1000,
    lambda t, dtype: (t / 1000).to(dtype),
)
_BACKWARD: tuple[_Form, ...] = (
    lambda t, dtype: (1000 - t).to(dtype) / 1000,
    lambda t, dtype: ((1000 - t) / 1000).to(dtype),
    lambda t, dtype: 1 - t.to(dtype) / 1000,
    lambda t, dtype: (1 - t / 1000).to(dtype),
)
_FORMS = (*_FORWARD, *_BACKWARD)


@dataclass(frozen=True, eq=False)
class TimestepArguments:
    """The denoiser's timestep argument at every evaluation, as one row a scheduler timestep.

    Attributes:
        candidates: one table for each form that agrees with all arguments seen so far; forms that agree at one
            evaluation can differ in the last bit at the next.
        backward: the denoiser counts time from noise to picture, against its scheduler.
    """

    candidates: tuple[Tensor, ...]
    backward: bool = False

    def at(self, index: int, like: Any) -> Tensor:
        """The argument of evaluation `index`, in the shape of `like`."""
        value = self.candidates[0][index]
        return value.expand(like.shape) if isinstance(like, Tensor) and value.shape != like.shape else value

    def narrowed(self, argument: Any, index: int) -> "TimestepArguments | None":
        """Those forms that also give the `argument` of evaluation `index`; None if no form does."""
        if len(self.candidates) == 1:
            return self
        value = _single(argument)
        agreeing = tuple(v for v in self.candidates if value is not None and bool(v[index] == value))
        return replace(self, candidates=agreeing) if agreeing else None


@dataclass(frozen=True, eq=False)
class Timesteps:
    """The scheduler's timesteps of one generation.

    Attributes:
        tensor: `scheduler.timesteps` itself, kept so that its identity stays meaningful.
        end: how many of them the pipeline will visit, counted from the first of the tensor.
    """

    tensor: Tensor
    end: int

    @classmethod
    def of(cls, pipe: Any, scheduler: Any) -> "Timesteps":
        """Reads what `pipe` is about to visit (`denoising_end` and the like visit fewer)."""
        tensor = scheduler.timesteps
        begin = getattr(scheduler, "begin_index", None) or 0
        visited = getattr(pipe, "_num_timesteps", None)
        end = len(tensor) if not visited else min(len(tensor), begin + visited)
        return cls(tensor, end)

    def position(self, argument: Any, scheduler: Any, expected: int) -> int | None:
        """The evaluation to which a timestep argument belongs; None if to no planned one.

        The argument's place in the scheduler's own storage answers without waiting for the device, so does
        the scheduler's step counter; only where neither is there is the value read.
        """
        if isinstance(argument, Tensor) and argument.numel() == 1 and self._is_a_view(argument):
            return int(argument.storage_offset() - self.tensor.storage_offset()) // int(self.tensor.stride(0))
        step = getattr(scheduler, "step_index", None)
        if isinstance(step, int):
            return step if step < len(self.tensor) else None
        found = self.find(argument)
        if not found:
            return None
        later = [index for index in found if index >= expected]
        return later[0] if later else found[0]

    def find(self, argument: Any) -> list[int]:
        """Every evaluation whose timestep, in any known form, is the argument bit for bit."""
        value = _single(argument)
        if value is None:
            return []
        for form in _FORMS:
            candidates = form(self.tensor.to(value.device), value.dtype)
            found: list[int] = (candidates == value).nonzero().flatten().tolist()
            if found:
                return found
        return []

    def arguments(self, argument: Any, index: int) -> TimestepArguments | None:
        """What the denoiser will be given at every evaluation, told from the `argument` at one of them.

        Returns:
            None where the argument is no known function of the scheduler's timestep.
        """
        value = _single(argument)
        if value is None:
            return None
        if isinstance(argument, Tensor) and argument.numel() == 1 and self._is_a_view(argument):
            return TimestepArguments((self.tensor,))
        for forms, backward in ((_FORWARD, False), (_BACKWARD, True)):
            tables = tuple(form(self.tensor.to(value.device), value.dtype) for form in forms)
            known = TimestepArguments(tables, backward).narrowed(argument, index)
            if known is not None:
                return known
        return None

    def _is_a_view(self, argument: Tensor) -> bool:
        storage = argument.untyped_storage().data_ptr()
        return storage == self.tensor.untyped_storage().data_ptr() and argument.dtype == self.tensor.dtype


def _single(argument: Any) -> Tensor | None:
    """The one value of an argument that is the same for every row and token; else None."""
    if isinstance(argument, int | float):
        return torch.tensor(argument)
    if not isinstance(argument, Tensor):
        return None
    flat = argument.reshape(-1)
    if flat.numel() > 1 and not bool((flat == flat[0]).all()):
        return None
    return flat[0]
