"""Answers requests by stages of which each rank holds its own weights alone."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..deferred import Deferred
from ..errors import CaptureRefused
from ..graph.attention_kernels import KernelsSeen, Setting
from ..graph.capture import Captured, capture
from ..graph.fingerprint import surroundings
from ..graph.form import Form, flattened
from ..graph.programs import Answer
from ..graph.scalars import Scalars, lifted
from ..graph.states import States
from ..report import Tally
from ..request import Request, Visit
from ..weights import Weights, form_mode, weights_of

PrepareShare = Callable[[Captured, Weights], Answer]
"""Makes this rank's share of a graph ready to be run; reads its weights."""


@dataclass(frozen=True, eq=False)
class Known:
    """A program, and the setting of torch under which it runs."""

    answer: Answer
    setting: Setting

    def __call__(self, tensors: Sequence[Tensor], visit: Visit | None) -> Any:
        """The output of a request."""
        with self.setting():
            return self.answer(tensors, visit)


class ShardedPrograms:
    """The programs of the requests seen lately, of denoisers whose weights are nowhere together.

    A graph is captured from forms alone, and what it gives is compared with no modules, which no rank could run.

    Args:
        prepare: makes a graph ready to be run.
        capacity: programs that are kept, the ones used last.
    """

    def __init__(self, prepare: PrepareShare, *, capacity: int) -> None:
        self._prepare = prepare
        self._capacity = capacity
        self._scalars = Scalars()
        self._states = States()
        self._known: OrderedDict[Form, Known] = OrderedDict()
        self._tally = Tally(0)

    def begin(self, tally: Tally) -> None:
        """A generation begins: the modules are looked at again when they are next asked."""
        self._tally = tally
        self._states.begin()

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        return self._answer(request, request.visit)

    def plainly(self, request: Request) -> Any:
        """The output of a request by itself; all stages have a part in it."""
        return self._answer(request, None)

    def _answer(self, request: Request, visit: Visit | None) -> Any:
        for lift in (self._scalars.varying, self._scalars.timestep):
            calls, tensors = flattened(request, lift)
            known = self._known.get(self._form(request, calls))
            if known is not None:
                return known(tensors, visit)
        refusal: CaptureRefused | None = None
        for lift in (self._scalars.varying, self._scalars.timestep):
            calls, tensors = flattened(request, lift)
            try:
                made = self._made(lifted(request, lift))
            except CaptureRefused as error:
                refusal = refusal or error
                continue
            self._known[self._form(request, calls)] = made
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
            return made(tensors, visit)
        assert refusal is not None
        raise refusal

    def _form(self, request: Request, calls: tuple[Any, ...]) -> Form:
        states = tuple(self._states.of(call.module) for call in request.calls)
        return Form(calls, states, surroundings())

    def _made(self, request: Request) -> Known:
        """The program of a request."""
        weights = weights_of(request.call.module)
        assert weights is not None
        with KernelsSeen() as kernels, form_mode(request.call.module), torch.no_grad():
            captured = capture(_forms_of(request))
        for call in request.calls:  # capturing may have left tables in them
            self._states.settle(call.module)
        self._tally.captures += 1
        setting = kernels.setting()
        with setting():
            return Known(self._prepare(captured, weights), setting)


def _forms_of(request: Request) -> Request:
    """A request for the same, with forms for its tensors."""
    mode = form_mode(request.call.module)

    def form(leaf: Any) -> Any:
        return mode.from_tensor(leaf) if isinstance(leaf, Tensor) and not isinstance(leaf, Deferred) else leaf

    calls = [call.with_arguments(pytree.tree_map(form, dict(call.arguments))) for call in request.calls]
    return request.with_calls(calls)
