"""Numbers among the arguments that change from one evaluation to the next, as tensors.

A number among the arguments is part of a captured graph, and another number is another graph. A ControlNet's
conditioning scale falls to zero when its share of the evaluations is over, so it has to be a value like others.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..call import Call
from ..request import Request

Number = int | float
Lift = Callable[[Call, bool], Mapping[str, Any]]
"""The arguments of a call, some of its numbers as tensors; told whether the call is a companion's."""


class Scalars:
    """Tensors of no dimension for numbers; equal numbers give one and the same tensor, seen to be unchanged.

    Args:
        capacity: numbers that are kept.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._made: dict[tuple[type, Number, torch.device], Tensor] = {}

    def varying(self, call: Call, companion: bool) -> Mapping[str, Any]:
        """A number for a timestep, and a companion's factors by name or in lists."""
        arguments = self.timestep(call, companion)
        if not companion:
            return arguments
        return {name: self._factors(value, call.x.device) for name, value in arguments.items()}

    def timestep(self, call: Call, companion: bool) -> Mapping[str, Any]:  # noqa: ARG002 -- a Lift is told both
        """A number for a timestep alone."""
        value = call.timestep
        if type(value) not in (int, float):
            return call.arguments
        return {**call.arguments, call.time: self._tensor(value, call.x.device)}

    def _factors(self, value: Any, device: torch.device) -> Any:
        if type(value) is float:
            return self._tensor(value, device)
        if isinstance(value, list | tuple) and value and all(type(part) is float for part in value):
            return type(value)(self._tensor(part, device) for part in value)
        return value

    def _tensor(self, value: Number, device: torch.device) -> Tensor:
        key = (type(value), value, device)
        if key not in self._made:
            if len(self._made) >= self._capacity:
                self._made.clear()
            dtype = torch.float64 if type(value) is float else torch.int64
            # Made outside of inference mode, so that its version can be read.
            with torch.inference_mode(mode=False):
                self._made[key] = torch.tensor(value, dtype=dtype, device=device)
        return self._made[key]


def lifted(request: Request, lift: Lift) -> Request:
    """The request with the arguments that `lift` gives."""
    last = len(request.calls) - 1
    calls = [call.with_arguments(lift(call, index < last)) for index, call in enumerate(request.calls)]
    return request.with_calls(calls)
