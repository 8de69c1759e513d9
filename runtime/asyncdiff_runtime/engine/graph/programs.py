"""Evaluates requests by their graphs, each captured once."""

from typing import Any

from torch.utils import _pytree as pytree

from ..request import Request
from .capture import Captured, capture
from .joint import tensors_of


class Programs:
    """The graphs of the requests seen so far; a callable that answers a request, as `Request.run` does.

    The first request of a kind is evaluated by its modules and then captured, so that capturing never changes a
    result that was not compared.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Captured] = {}

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        key = (request.signature(), *(id(call.module) for call in request.calls))
        captured = self._known.get(key)
        if captured is None:
            output = request.run()
            self._known[key] = capture(request)
            return output
        outputs = captured.graph(*captured.weights.values(), *tensors_of(request))
        return pytree.tree_unflatten(list(outputs), captured.tree)
