"""What `asyncdiff run` shows while it works: bars on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asyncdiff_api.amounts import counted, of_bytes, rate, seconds
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from asyncdiff_api.formats.progress import Download

    from asyncdiff_runtime.batch.assignment import RankState
    from asyncdiff_runtime.batch.throughput import Samples

MOST_RANKS: Final = 16
"""Ranks that have a line of their own."""
LOG_SECONDS: Final = 10.0
"""Time between two lines of a log, but for changes of phase and the last item."""
WITHIN_ITEM_SECONDS: Final = 30.0
"""The same where no item was finished, and the evaluation in hand is the news."""
SILENT_SECONDS: Final = 20.0
"""Age of a rank's last sign of life from which it is shown."""
ITEM_DIGITS: Final = 8

_PHASES: Final = {
    "Starting": "Starting the ranks",
    "Loading": "Loading the model",
    "Compiling": "Compiling the model",
    "Generating": "Generating",
    "Waiting": "Waiting for encoding and upload",
    "Draining": "Finishing the items in hand",
    "Ended": "Ending the ranks",
}

Watch = Callable[[int, "Mapping[int, RankState]"], None]
"""Told the items that are recorded, and what each rank last said."""


@dataclass(frozen=True)
class Moment:
    """How far a run is."""

    phase: str
    done: int
    total: int | None
    rate: float | None = None
    """Items a second, lately."""
    in_hand: float = 0.0
    """What is done of the items in hand, in items."""
    evaluation: str = ""
    """Where the first of them is: `evaluation 14 of 28`."""
    download: Download | None = None
    """How far the files of the model have come, while they are fetched."""

    @property
    def remaining(self) -> float | None:
        """Seconds until the end, at this rate; None where it is not known."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.done) / self.rate

    def words(self) -> str:
        """Gives `2 of 6 items, evaluation 14 of 28, 0.53 items/s, 8 s left`."""
        known = (
            f"{self.done:,} of {counted(self.total, 'item')}" if self.total else counted(self.done, "item")
        )
        speed = [rate(self.rate)] if self.rate else []
        left = [f"{seconds(self.remaining)} left"] if self.remaining else []
        return ", ".join(filter(None, [known, self.evaluation, *speed, *left]))

    def line(self) -> str:
        """Gives what is done, and how far: `Fetching the model: 1.2 of 6.94 GB`."""
        if self.download is not None:
            return f"Fetching the model: {of_bytes(self.download.received_bytes, self.download.total_bytes)}"
        return f"{_PHASES.get(self.phase, self.phase)}: {self.words()}"


def phase_of(states: Mapping[int, RankState]) -> str:
    """Gives the phase of the ranks as a whole: the earliest one that a rank is in, unless they drain."""
    phases = {state.phase for state in states.values()}
    if "Draining" in phases:
        return "Draining"
    return next((phase for phase in _PHASES if phase in phases), "Starting")


def evaluation_of(state: RankState) -> str:
    """Gives `evaluation 14 of 28`; empty where nothing is in hand."""
    return f"evaluation {state.evaluation} of {state.evaluations}" if state.evaluations else ""


def done_in_hand(states: Mapping[int, RankState]) -> float:
    """Gives what is done of the items in hand, in items; ranks that follow another count as nothing."""
    at_work = [state for state in states.values() if state.items is not None and state.evaluations]
    return sum(state.running * max(0, state.evaluation - 1) / state.evaluations for state in at_work)


def rank_line(state: RankState) -> str:
    """Gives `rank 0  Generating  322c7458  evaluation 14 of 28`."""
    parts = [f"rank {state.rank}", f"{state.phase:<10}"]
    if state.running:
        parts.append(
            state.item[:ITEM_DIGITS] + (f" and {state.running - 1} more" if state.running > 1 else "")
        )
    parts.append(evaluation_of(state))
    if state.heartbeat_age_seconds > SILENT_SECONDS:
        parts.append(f"silent for {seconds(state.heartbeat_age_seconds)}")
    return "  ".join(filter(None, parts))


@contextmanager
def watching(errors: Console, total: int | None) -> Iterator[Watch]:
    """Gives who is to be told how far a run is, and shows it until the end.

    Args:
        errors: Where it is shown.
        total: Items of the job; None where they are not known.
    """
    show = _on_terminal(errors) if errors.is_terminal else _as_lines(errors)
    with show as shown:
        pace = _Pace(total)

        def watch(done: int, states: Mapping[int, RankState]) -> None:
            shown(pace.moment(done, states, time.monotonic()), states)

        yield watch


class _Pace:
    """Takes the rate over the latest minutes."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._samples: Samples = ()

    def moment(self, done: int, states: Mapping[int, RankState], now: float) -> Moment:
        from asyncdiff_runtime.batch.assignment import download_of, made_of
        from asyncdiff_runtime.batch.throughput import Sample, items_per_second, sampled

        if phase_of(states) == "Generating":
            self._samples = sampled(self._samples, Sample(now, made_of(states.values())))
        return Moment(
            phase_of(states),
            done,
            self._total,
            items_per_second(self._samples),
            done_in_hand(states),
            next(filter(None, (evaluation_of(state) for _, state in sorted(states.items()))), ""),
            download_of(states),
        )


Show = Callable[[Moment, "Mapping[int, RankState]"], None]


@contextmanager
def _on_terminal(errors: Console) -> Iterator[Show]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn()
    )
    task = bar.add_task(_PHASES["Starting"], total=None, words="")
    with Live(bar, console=errors, transient=True, refresh_per_second=8) as live:

        def show(moment: Moment, states: Mapping[int, RankState]) -> None:
            description, _, words = moment.line().partition(": ")
            total, completed = moment.total, moment.done + moment.in_hand
            if moment.download is not None:
                total, completed = moment.download.total_bytes, moment.download.received_bytes
            bar.update(task, total=total, completed=completed, description=description, words=words)
            shown = sorted(states.items())[:MOST_RANKS]
            lines = [Text(rank_line(state), "dim", no_wrap=True, overflow="ellipsis") for _, state in shown]
            if len(states) > MOST_RANKS:
                lines.append(Text(f"and {len(states) - MOST_RANKS} more ranks", "dim"))
            live.update(Group(bar, *lines))

        yield show


@contextmanager
def _as_lines(errors: Console) -> Iterator[Show]:
    told, told_at = Moment("", 0, None), float("-inf")

    def show(moment: Moment, _states: Mapping[int, RankState]) -> None:
        nonlocal told, told_at
        now = time.monotonic()
        if is_news(told, moment, now - told_at):
            errors.print(moment.line())
            told, told_at = replace(moment), now

    yield show


def is_news(told: Moment, now: Moment, age_seconds: float) -> bool:
    """Whether a log wants another line.

    Args:
        told: What its last line said.
        now: What is so now.
        age_seconds: Age of the last line.
    """
    if now.phase != told.phase or (now.download is None) != (told.download is None):
        return now.phase != "Ended"
    if now.done != told.done:
        return age_seconds >= LOG_SECONDS or now.done == now.total
    if now.download != told.download:
        return age_seconds >= LOG_SECONDS
    return now.evaluation != told.evaluation and age_seconds >= WITHIN_ITEM_SECONDS
