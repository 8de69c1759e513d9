"""What the denoiser is asked in one branch of one evaluation, with the modules that are asked together with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from .call import Call
from .deferred import Deferred, Form, filled


@dataclass(frozen=True)
class OutputShape:
    """Structure of a companion's output and the form of its tensors."""

    tree: pytree.TreeSpec
    forms: tuple[Form, ...]


@dataclass(eq=False)
class Companion:
    """A ControlNet's call on its way to the denoiser: evaluated at most once, when it is needed.

    Attributes:
        name: the module's name in the pipeline.
        call: the companion's own call.
    """

    name: str
    call: Call
    _evaluated: tuple[list[Tensor], pytree.TreeSpec] | None = None

    def output(self) -> Any:
        """The companion's output, evaluated on this rank."""
        if self._evaluated is None:
            self._evaluated = pytree.tree_flatten(self.call.run())
        return pytree.tree_unflatten(*self._evaluated)

    def outputs(self) -> list[Tensor]:
        """The tensors of the companion's output, evaluated on this rank."""
        self.output()
        assert self._evaluated is not None
        return self._evaluated[0]

    def given(self) -> list[Tensor]:
        """The tensors that were handed to the pipeline already; none if placeholders were."""
        return self._evaluated[0] if self._evaluated is not None else []

    def shape(self) -> OutputShape:
        """The form of the output, which must have been evaluated."""
        assert self._evaluated is not None
        return OutputShape(self._evaluated[1], tuple(Form.of(tensor) for tensor in self._evaluated[0]))

    def placeholders(self, shape: OutputShape) -> Any:
        """An output of placeholders of the given form."""
        leaves = [Deferred.of(slot, form, self) for slot, form in enumerate(shape.forms)]
        return pytree.tree_unflatten(leaves, shape.tree)


@dataclass(frozen=True)
class Visit:
    """Which of a generation's questions a request is; what keeps state from one evaluation to the next goes by it.

    Attributes:
        generation: counts the pipeline's calls.
        branch: counts the calls of an evaluation.
        evaluation: counts the generation's evaluations, from 0.
        evaluations: how many there will be.
        exact: whether nothing old may be read.
        rows: the first row of the request that is asked for, and the one after the last; all of them if None.
    """

    generation: int
    branch: int
    evaluation: int
    evaluations: int
    exact: bool
    rows: tuple[int, int] | None = None


@dataclass(eq=False)
class Request:
    """The denoiser's call and those of its companions; the answer is the denoiser's output.

    Attributes:
        call: the denoiser's call; placeholders among its arguments stand for the companions' outputs.
        companions: calls evaluated before it, in order.
        visit: which question it is; None where nobody keeps state.
    """

    call: Call
    companions: tuple[Companion, ...] = ()
    visit: Visit | None = None
    _signature: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, call: Call, pending: Sequence[Companion]) -> "Request":
        """Joins a denoiser's call with those of the `pending` companions whose output it was given."""
        if not pending:
            return cls(call)
        given = {
            id(tensor): (companion, slot)
            for companion in pending
            for slot, tensor in enumerate(companion.given())
        }

        def recognised(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and id(leaf) in given:
                companion, slot = given[id(leaf)]
                return Deferred.of(slot, Form.of(leaf), companion)
            return leaf

        arguments = pytree.tree_map(recognised, dict(call.arguments))
        sources = {id(leaf.source) for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, Deferred)}
        companions = tuple(companion for companion in pending if id(companion) in sources)
        return cls(call.with_arguments(arguments), companions) if companions else cls(call)

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls, the denoiser's last."""
        return (*(companion.call for companion in self.companions), self.call)

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.call.rows

    def run(self) -> Any:
        """Evaluates companions and denoiser on this rank."""
        if not self.companions:
            return self.call.run()
        made = {id(companion): companion.outputs() for companion in self.companions}
        return self.call.with_arguments(filled(dict(self.call.arguments), made)).run()

    def at(self, xs: Sequence[Tensor], timesteps: Sequence[Any]) -> "Request":
        """The same request at other latents and timesteps, one of each a call."""
        moved = self.with_calls([call.at(x, t) for call, x, t in zip(self.calls, xs, timesteps, strict=True)])
        moved._signature = self._signature  # noqa: SLF001 -- the same class: shapes and conditions stay
        return moved

    def take(self, start: int, stop: int) -> "Request":
        """The rows `start` to `stop`."""
        if (start, stop) == (0, self.rows):
            return self
        taken = self.with_calls([call.take(start, stop) for call in self.calls])
        if self.visit is not None:
            taken.visit = replace(self.visit, rows=(start, stop))
        return taken

    def same_condition(self, other: "Request") -> bool:
        """Whether all but latents and timesteps is equal."""
        return len(self.calls) == len(other.calls) and all(
            mine.same_condition(theirs) for mine, theirs in zip(self.calls, other.calls, strict=True)
        )

    def signature(self) -> tuple[Any, ...]:
        """A hashable description of all calls."""
        if self._signature is None:
            self._signature = tuple(call.signature() for call in self.calls)
        return self._signature

    def follows(self, earlier: "Request") -> bool:
        """As `same_condition`; a request that follows an earlier one of the same shape has its signature."""
        same = self.same_condition(earlier)
        if same and all(a.x.shape == b.x.shape for a, b in zip(self.calls, earlier.calls, strict=True)):
            self._signature = earlier._signature  # noqa: SLF001 -- the same class
        return same

    def with_calls(self, calls: Sequence[Call]) -> "Request":
        """The same request with other calls; placeholders are bound to the new companions."""
        if not self.companions:
            return Request(calls[-1], visit=self.visit)
        companions = tuple(
            Companion(old.name, call) for old, call in zip(self.companions, calls, strict=False)
        )
        renewed = {id(old): new for old, new in zip(self.companions, companions, strict=True)}

        def rebind(leaf: Any) -> Any:
            if not isinstance(leaf, Deferred):
                return leaf
            return Deferred.of(leaf.slot, Form.of(leaf), renewed[id(leaf.source)])

        arguments = pytree.tree_map(rebind, dict(calls[-1].arguments))
        return Request(calls[-1].with_arguments(arguments), companions, self.visit)
