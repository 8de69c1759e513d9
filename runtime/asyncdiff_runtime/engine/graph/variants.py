"""Which of the graphs of one form serves a request, where graphs hold for some values of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from torch import Tensor

from .assumptions import Assumptions
from .form import Form
from .host_values import HostValue

_REMEMBERED: Final = 256
"""Sets of values that are kept in mind."""


@dataclass(eq=False)
class _Met:
    """What is known of a form whose modules go by values.

    Attributes:
        generation: which saw the form first.
        graphs: what each of its graphs assumes.
        generations: by values, the generation that met them first.
    """

    generation: int
    graphs: list[Assumptions] = field(default_factory=list)
    generations: dict[tuple[HostValue, ...], int] = field(default_factory=dict)


class Variants:
    """The values for which each form has graphs, and those that it met without one.

    Args:
        capacity: graphs of a form, at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._met: dict[Form, _Met] = {}

    def of(self, form: Form, tensors: Sequence[Tensor]) -> Form:
        """The form with the values that a graph assumes and the tensors have; as it is if there is none."""
        met = self._met.get(form)
        graphs = met.graphs if met is not None else []
        return next((_assuming(form, graph) for graph in graphs if graph.hold(tensors)), form)

    def worth(self, form: Form, noted: Sequence[HostValue], generation: int) -> bool:
        """Whether a request whose modules took these values to the host is to be captured.

        In the form's first generation it is. Later it is when the values come again in another generation: prompts of
        many lengths, each met once, would take more time for capturing than they ever save.
        """
        if not noted:
            return True
        met = self._met.setdefault(form, _Met(generation))
        first = met.generations.setdefault(tuple(noted), generation)
        while len(met.generations) > _REMEMBERED:
            del met.generations[next(iter(met.generations))]
        return met.generation == generation or (first < generation and len(met.graphs) < self._capacity)

    def add(self, form: Form, assumptions: Assumptions, generation: int) -> Form:
        """The form with the values that a new graph of it assumes."""
        if not assumptions.values:
            return form
        graphs = self._met.setdefault(form, _Met(generation)).graphs
        graphs[:] = [*(graph for graph in graphs if graph.values != assumptions.values), assumptions]
        return _assuming(form, assumptions)

    def purge(self) -> None:
        """Drops what belongs to states that cannot come back."""
        for form in [form for form in self._met if any(state.gone for state in form.states)]:
            del self._met[form]


def _assuming(form: Form, assumptions: Assumptions) -> Form:
    return replace(form, assumed=assumptions.values)
