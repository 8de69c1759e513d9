"""Answers requests by captured graphs: one for each form of request, made when it is first seen."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CaptureRefused, EngineError
from ..report import Tally
from ..request import Request, Visit
from .assumptions import Assumptions
from .attention_kernels import KernelsSeen, Setting
from .capture import Captured, capture
from .fingerprint import surroundings
from .form import Form, flattened
from .host_values import HostValue, Noting
from .joint import tensors_of
from .scalars import Lift, Scalars, lifted
from .states import States
from .variants import Variants
from .verification import verify

logger = logging.getLogger(__name__)

Answer = Callable[[Sequence[Tensor], Visit | None], Any]
"""From a request's tensors, and which question it is, to its output."""

Prepare = Callable[[Captured], Answer]
"""Makes a graph ready to be run."""

_REFUSALS = 64
"""Forms without a program that are kept in mind."""

CHECKS = 3
"""Evaluations of a program that are compared with its modules: the first two, and the next generation's first."""


@dataclass(eq=False)
class Known:
    """A program, and how often it was compared with its modules; evaluations in which it was made count.

    Attributes:
        answer: the program.
        generation: in which it was made.
        assumptions: values of tensors for which it was made.
        plain: the graph's operations one by one, where the program runs others; until it was compared often enough.
        checks: how often it was compared.
    """

    answer: Answer
    generation: int
    assumptions: Assumptions
    plain: Answer | None = None
    checks: int = 1

    def due(self, generation: int) -> bool:
        """Whether the next evaluation is to be compared.

        At the second evaluation the timestep is another; at a later generation's first, so is the prompt. What a
        module had kept from earlier calls, and the graph took for constant, shows there.
        """
        if self.checks == CHECKS - 1 and generation == self.generation:
            return False
        return self.checks < CHECKS


class Programs:
    """The programs of the requests seen lately.

    The first request of a form is answered by its modules and then captured; the program has to agree with them. What
    cannot be captured is answered by the modules from then on.

    Args:
        prepare: makes a graph ready to be run.
        exact: what it makes runs the modules' very operations, and has to agree with them to the bit.
        strict: what cannot be captured is an error.
        capacity: programs that are kept, the ones used last; a generation that needs more gets the rest from the
            modules.
        warn: takes a sentence for the person who waits.
    """

    def __init__(
        self,
        prepare: Prepare,
        *,
        exact: bool = True,
        strict: bool = False,
        capacity: int = 8,
        warn: Callable[[str], None] = logger.warning,
    ) -> None:
        self._prepare = prepare
        self._exact = exact
        self._strict = strict
        self._capacity = capacity
        self._warn = warn
        self._scalars = Scalars()
        self._states = States()
        self._known: OrderedDict[Form, Known] = OrderedDict()
        self._refused: dict[Form, str] = {}
        self._variants = Variants(capacity)
        self._passed: set[Form] = set()
        self._tally = Tally(0)
        self._attempts = 0
        self._said: set[str] = set()

    def begin(self, tally: Tally) -> None:
        """A generation begins: the modules are looked at again when they are next asked."""
        self._tally = tally
        self._attempts = 0
        self._passed.clear()
        self._states.begin()

    def plainly(self, request: Request) -> Any:
        """The output of a request by its modules."""
        return request.run()

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        if torch.is_grad_enabled():
            self._tally.note("Gradients are enabled, so that the denoiser is evaluated by its modules.")
            return request.run()
        begun = self._begun(request)
        for lift in self._lifts:
            form, tensors = self._form(request, lift)
            known = self._known.get(form)
            if known is not None:
                self._known.move_to_end(form)
                if known.due(self._tally.generation) and _comparable(request):
                    return self._compared(request, form, known, tensors)
                return begun.pop(form) if form in begun else known.answer(tensors, request.visit)
        if form in self._refused:
            if self._strict:
                raise CaptureRefused(self._refused[form])
            self._tally.note(self._refused[form])
            return request.run()
        if form in self._passed:
            return request.run()
        if self._attempts >= self._capacity:
            self._say(
                f"This generation calls its denoiser in more than {self._capacity} ways; the others are evaluated "
                f"by its modules. Arguments that are no tensors, and change at each evaluation, do this."
            )
            return request.run()
        return self._first(request)

    def rehearse(self, request: Request) -> None:
        """Captures a request or compares its program with its modules, if that would be done when it is asked.

        Not of a program that keeps state, which may be asked only what it is to answer.
        """
        if request.visit is None and not self._settled(request):
            self(request)

    def _settled(self, request: Request) -> bool:
        """Whether a request is answered as it will always be: by a program that is due for nothing, or by modules."""
        if torch.is_grad_enabled() or self._attempts >= self._capacity:
            return True
        for lift in self._lifts:
            form, _ = self._form(request, lift)
            known = self._known.get(form)
            if known is not None:
                return not known.due(self._tally.generation)
        return form in self._refused or form in self._passed

    @property
    def _lifts(self) -> tuple[Lift, ...]:
        """Ways of making numbers into tensors, the preferred one first."""
        return (self._scalars.varying, self._scalars.timestep)

    def _form(self, request: Request, lift: Lift) -> tuple[Form, list[Tensor]]:
        form, tensors = self._bare(request, lift)
        return self._variants.of(form, tensors), tensors

    def _bare(self, request: Request, lift: Lift) -> tuple[Form, list[Tensor]]:
        """The form of a request whatever its tensors' values."""
        calls, tensors = flattened(request, lift)
        states = tuple(self._states.of(call.module) for call in request.calls)
        return Form(calls, states, surroundings()), tensors

    def _begun(self, request: Request) -> dict[Form, Any]:
        """The answer if nothing has changed since the last generation, before that is known.

        A look at large modules takes tens of milliseconds, during which a GPU works on what was begun.
        """
        presumed = [self._states.presumed(call.module) for call in request.calls]
        states = tuple(state for state in presumed if state is not None)
        if len(states) < len(presumed):
            return {}
        for lift in self._lifts:
            calls, tensors = flattened(request, lift)
            form = self._variants.of(Form(calls, states, surroundings()), tensors)
            known = self._known.get(form)
            if known is not None and not known.due(self._tally.generation):
                try:
                    return {form: known.answer(tensors, request.visit)}
                except Exception:
                    if all(self._states.look(call.module) in states for call in request.calls):
                        raise  # no weights that were moved or resized
        return {}

    def _by_modules(self, request: Request) -> Any:
        """The output of the modules, which may change what they keep as they run."""
        output = request.run()
        for call in request.calls:
            self._states.settle(call.module)
        return output

    def _first(self, request: Request) -> Any:
        """Answers the first request of a form by its modules, and captures it."""
        for call in request.calls:
            self._states.look(call.module)
        with KernelsSeen() as kernels, Noting() as noting:
            output = self._by_modules(request)
        self._purge()
        if self._passes(request, noting.noted):
            return output
        self._attempts += 1
        refusal: CaptureRefused | None = None
        for lift in self._lifts:
            form, _ = self._bare(request, lift)
            if form in self._refused:
                continue
            try:
                known = self._program(lifted(request, lift), noting.noted, output, kernels.setting())
                self._keep(self._variants.add(form, known.assumptions, self._tally.generation), known)
            except CaptureRefused as error:
                self._refuse(form, error)
                refusal = error
            else:
                return output
        if refusal is not None:
            self._fall_back(form, refusal)
        return output

    def _passes(self, request: Request, noted: Sequence[HostValue]) -> bool:
        """Whether a request is left to its modules for now, since few others will be answered by its graph."""
        forms = {self._bare(request, lift)[0] for lift in self._lifts}
        passed = {f for f in forms if not self._variants.worth(f, noted, self._tally.generation)}
        if self._strict or not passed:
            return False
        self._passed |= passed
        self._tally.note(
            "The denoiser goes by values of its prompt, as its length, that no graph was captured for; it is evaluated "
            "by its modules until they come again."
        )
        return True

    def _program(self, request: Request, noted: Sequence[HostValue], output: Any, setting: Setting) -> Known:
        """The program of a request, which runs under `setting`, compared with the modules' `output`."""
        started = time.perf_counter()
        captured = capture(request, noted)
        captured.assumptions.check(tensors_of(request))
        try:
            with setting():
                answer = self._prepare(captured)
            plain = None if self._exact else _under(setting, lambda tensors, _: captured.run(tensors))
            generation, assumptions = self._tally.generation, captured.assumptions
            known = Known(_under(setting, answer), generation, assumptions, plain)
            self._verify(known, request, output)
        except EngineError:
            raise
        except Exception as error:
            raise CaptureRefused.at(error, "") from error
        names = " and ".join(type(call.module).__name__ for call in request.calls)
        logger.info("Captured %s in %.1f s.", names, time.perf_counter() - started)
        return known

    def _verify(self, known: Known, request: Request, expected: Any) -> None:
        """Compares a program with its modules: closely where it runs their operations, else these beside it."""
        if known.plain is not None:
            verify(_without_drawing(known.plain, request), expected, exact=True)
        verify(_without_drawing(known.answer, request), expected, exact=self._exact)

    def _keep(self, form: Form, known: Known) -> None:
        self._tally.captures += 1
        self._known[form] = known
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        for state in form.states:
            if state.since:
                self._tally.note(f"Captured again, since {state.since}.")

    def _purge(self) -> None:
        """Drops what belongs to states that cannot come back."""
        for kept in (self._known, self._refused):
            for form in [form for form in kept if any(state.gone for state in form.states)]:
                del kept[form]
        self._variants.purge()

    def _compared(self, request: Request, form: Form, known: Known, tensors: Sequence[Tensor]) -> Any:
        """Answers a request by its modules, and compares the program with them."""
        if any(self._states.of(call.module) is not self._states.look(call.module) for call in request.calls):
            return self(request)
        expected = self._by_modules(request)
        try:
            if known.plain is not None:
                verify(known.plain(tensors, None), expected, exact=True)
            verify(known.answer(tensors, request.visit), expected, exact=self._exact)
        except CaptureRefused as error:
            del self._known[form]
            self._refuse(form, error)
            self._fall_back(form, error)
        known.checks += 1
        if known.checks == CHECKS:
            known.plain = None
        return expected

    def _refuse(self, form: Form, reason: CaptureRefused) -> None:
        """Keeps in mind that a form has no program; the oldest of many is tried again when it is asked."""
        self._refused[form] = f"{reason} It is evaluated by its modules."
        while len(self._refused) > _REFUSALS:
            del self._refused[next(iter(self._refused))]

    def _fall_back(self, form: Form, refusal: CaptureRefused) -> None:
        if self._strict:
            raise refusal
        self._say(self._refused[form])

    def _say(self, sentence: str) -> None:
        """Puts a sentence into the generation's report; the first time it is a warning too."""
        self._tally.note(sentence)
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(sentence)


def _under(setting: Setting, answer: Answer) -> Answer:
    def under(tensors: Sequence[Tensor], visit: Visit | None) -> Any:
        with setting():
            return answer(tensors, visit)

    return answer if setting is nullcontext else under


def _comparable(request: Request) -> bool:
    """Whether a program's output is to be that of its modules: one that keeps state may read what is old."""
    return request.visit is None or request.visit.exact


def _without_drawing(answer: Answer, request: Request) -> Any:
    """A program's output, the generators of random numbers left as they were.

    Raises:
        CaptureRefused: it draws from them.
    """
    tensors = tensors_of(request)
    devices = sorted({tensor.device.index for tensor in tensors if tensor.device.type == "cuda"})
    with torch.random.fork_rng(devices):
        before = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
        made = answer(tensors, request.visit)
        after = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
    if not all(map(torch.equal, before, after)):
        raise CaptureRefused(
            "The denoiser draws random numbers as it runs, which no graph does in the same order."
        )
    return made
