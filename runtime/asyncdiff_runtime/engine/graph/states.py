"""The states that modules were seen in, looked at once a generation."""

from dataclasses import dataclass

from torch import nn

from .fingerprint import Fingerprint, fingerprint


@dataclass(eq=False)
class State:
    """A state of a module: what is captured in it serves as long as the module is in it.

    Attributes:
        print: what the module is like in it, with whatever it keeps from its latest evaluation.
        gone: it cannot come back, since tensors were changed or taken away.
        since: what set it off from the state before, in the generation that saw it first.
    """

    print: Fingerprint
    gone: bool = False
    since: str = ""


class States:
    """Which state each module is in.

    A look reads every attribute, so it is taken at a module's first evaluation in a generation and around those
    that its forward answers; what else changes a module while a generation runs is seen by the next.
    """

    def __init__(self) -> None:
        self._known: dict[nn.Module, list[State]] = {}
        self._now: dict[nn.Module, State] = {}

    def begin(self) -> None:
        """A generation begins."""
        for state in self._now.values():
            state.since = ""
        self._now.clear()

    def of(self, module: nn.Module) -> State:
        """The state that a module is in; one and the same object while it is in it, and when it is in it again."""
        return self._now.get(module) or self.look(module)

    def presumed(self, module: nn.Module) -> State | None:
        """The state that a module was in last; None before its first generation, and when it was looked at in this."""
        known = self._known.get(module)
        return known[-1] if known and module not in self._now else None

    def look(self, module: nn.Module) -> State:
        """As `of`, by another look at the module."""
        found, known = fingerprint(module), self._known.setdefault(module, [])
        state = next((state for state in known if state.print.equals(found)), None)
        if state is None:
            latest = known[-1].print if known else found
            for earlier in known:
                earlier.gone = earlier.print.outdated_by(found)
            state = State(found, since=latest.change_to(found) if known else "")
            known[:] = [*(earlier for earlier in known if not earlier.gone), state]
        else:
            known.remove(state)
            known.append(state)
        self._now[module] = state
        return state

    def settle(self, module: nn.Module) -> None:
        """Takes what a module's own forward has just changed in it (tables, counters) for the same state."""
        self.of(module).print = fingerprint(module)
