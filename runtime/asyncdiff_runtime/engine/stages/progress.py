"""The way through a schedule, one tick after the other."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from torch import Tensor

from ..errors import PeerError, RankFailed
from .cell import BoundSegments, Store, Values, run_cell
from .schedule import Cell, Schedule, Value

Inputs = Callable[[Cell], Values]
"""What a cell reads beside other segments' values: the latent, true or foretold, and what is held of its timestep."""

Prediction = tuple[Tensor, ...]


class Post(Protocol):
    """Brings values from stage to stage."""

    def collect(self, cell: Cell, store: Store) -> None:
        """Puts into the store what a cell reads and other stages made; waits for it."""

    def exchange(self, tick: int, store: Store) -> None:
        """Sends what was made at a tick to those who will read it, and receives what they made."""

    def settle(self) -> None:
        """Waits for whatever is on its way, and forgets it."""


class AtHome:
    """All stages are here: nothing has to be brought."""

    def collect(self, cell: Cell, store: Store) -> None:
        """Everything is in the store."""

    def exchange(self, tick: int, store: Store) -> None:
        """Nobody else reads it."""

    def settle(self) -> None:
        """Nothing is on its way."""


class Progress:
    """How far a schedule is carried out, as far as the stages that are here have part in it.

    Attributes:
        schedule: what to do.
        store: versions that will still be read.
    """

    def __init__(self, schedule: Schedule, stages: Collection[int], bound: BoundSegments, post: Post) -> None:
        self.schedule = schedule
        self.store: Store = {}
        self._stages = sorted(stages)
        self._bound = bound
        self._post = post
        self._tick = 0
        self._failure: Exception | None = None
        self._expiring = _expiring(schedule, stages)

    @property
    def finished(self) -> bool:
        """Whether the last tick is done."""
        return self._tick == len(self.schedule.ticks)

    def tick(self, inputs: Inputs) -> dict[Cell, Prediction]:
        """Does one tick; gives the predictions that are made here, by the cells that make them."""
        predictions: dict[Cell, Prediction] = {}
        for cell in self._cells():
            self._post.collect(cell, self.store)
            made = self._made(cell, inputs)
            if made is not None:
                self.store[cell.value] = made
                if cell.segment == self.schedule.segments - 1:
                    predictions[cell] = tuple(made.values())
        self._exchange()
        for value in self._expiring.get(self._tick, ()):
            self.store.pop(value, None)
        self._tick += 1
        return predictions

    def evaluate(self, evaluation: int, inputs: Inputs) -> Prediction | None:
        """Goes on until an evaluation of the only sample is predicted.

        None where the prediction is made elsewhere, or failed; `check` tells.

        Args:
            evaluation: the next one; its latent is known, and no other is read.
            inputs: what its cells read.
        """
        prediction = None
        while self._tick <= self.schedule.predicted(0, evaluation):
            for made in self.tick(inputs).values():
                prediction = made
        return prediction

    @property
    def failed(self) -> bool:
        """Whether a cell raised something. Other stages are still sent what they wait for, whatever is in it."""
        return self._failure is not None

    def check(self) -> None:
        """Raises what a cell raised."""
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """Waits for whatever is on its way from other stages."""
        self._post.settle()

    def _made(self, cell: Cell, inputs: Inputs) -> dict[str, Tensor] | None:
        if self._failure is None:
            try:
                return run_cell(cell, self._bound, self.store, inputs(cell))
            except Exception as error:  # noqa: BLE001 -- raised by `check`
                self._failure = error
        return None

    def _exchange(self) -> None:
        try:
            self._post.exchange(self._tick, self.store)
        except PeerError:
            if self._failure is None:
                raise
            # What this rank did comes before what others say of it.
            raise RankFailed.here(f"tick {self._tick}", self._failure) from self._failure

    def _cells(self) -> Iterator[Cell]:
        for stage in self._stages:
            yield from self.schedule.ticks[self._tick][stage]


def _expiring(schedule: Schedule, stages: Collection[int]) -> dict[int, list[Value]]:
    """By tick: the versions that these stages read for the last time then, or made then and never read."""
    last: dict[Value, int] = {}
    for work in schedule.work:
        if work.stage in stages:
            last[work.cell.value] = max(work.tick, last.get(work.cell.value, 0))
            last |= dict.fromkeys(work.cell.reads, work.tick)
    expiring: dict[int, list[Value]] = {}
    for value, tick in last.items():
        expiring.setdefault(tick, []).append(value)
    return expiring
