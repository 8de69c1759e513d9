"""Who has been silent for too long: decided from the ranks' signs of life, and from nothing else.

Silence is counted in time that the watchdog itself was awake: a pod that was frozen as a whole, or a machine
that slept, is no rank's fault.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from asyncdiff_api.formats.errors import WrongJobError

from asyncdiff_runtime.batch.heartbeat import Pulse, Stage

SECONDS_VARIABLE: Final = "WATCHDOG_SECONDS"
START_VARIABLE: Final = "WATCHDOG_START_SECONDS"
LONGEST_LOOK_SECONDS: Final = 5.0
"""Of the time between two looks, this much counts at most."""
GAPS: Final = 20
"""A rank may be silent for this many times its longest silence so far."""
GENERATIONS: Final = 10
"""A generation may take this many times the longest of its kind so far."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long ranks may be silent, in seconds."""

    shortest: float = 120.0
    """No limit is shorter than this; a process that does not run at all is waited for this long."""
    start: float = 1800.0
    """While a rank loads, stores or waits for storage, and in the first two generations of a kind, which may
    compile."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Gives the limits that the environment sets, else the usual ones.

        Raises:
            WrongJobError: A variable holds no positive number.
        """
        given = {
            name: _seconds(variable, environment[variable])
            for name, variable in (("shortest", SECONDS_VARIABLE), ("start", START_VARIABLE))
            if environment.get(variable)
        }
        return cls(**given)

    @property
    def of_group(self) -> float:
        """How long a rank waits in a collective for the others, in seconds: for what the watchdog cannot see.

        It is twice what the watchdog allows a rank that may compile, so that one that hangs is named and ended
        before the others give up.
        """
        return 2 * max(self.start, self.shortest)

    def between_beats(self, pulse: Pulse) -> float:
        """Gives how long the work may stand still, in seconds."""
        if pulse.stage is not Stage.KNOWN:
            return max(self.start, self.shortest)
        return max(self.shortest, GAPS * pulse.longest_gap)

    def of_generation(self, pulse: Pulse) -> float:
        """Gives how long the generation in hand may take, in seconds."""
        if pulse.stage is not Stage.KNOWN:
            return float("inf")
        return max(self.shortest, GENERATIONS * pulse.longest_generation)


@dataclass(frozen=True, kw_only=True)
class Hung:
    """The rank that is to be ended, and why."""

    rank: int
    pulse: Pulse | None
    """What it last said; None if it never said anything."""
    what: str
    """What it does not do, as a clause."""
    silent_seconds: float
    limit_seconds: float

    def message(self, item: str) -> str:
        """Says it in a sentence.

        Args:
            item: Id of the item in hand; empty if there is none.
        """
        place = ""
        if self.pulse is not None and self.pulse.stage is not Stage.APART:
            of_all = f" of {self.pulse.evaluations}" if self.pulse.evaluations else ""
            place = f" at evaluation {self.pulse.evaluation}{of_all} of item {item or '(unknown)'}"
        return (
            f"rank {self.rank} {self.what} for {self.silent_seconds:.0f} s{place}, where {self.limit_seconds:.0f} s "
            "are allowed; it was ended, what is recorded stays, and a retry makes the rest"
        )


@dataclass(frozen=True)
class _Seen:
    """A rank as it was last seen, and when its parts last changed, in seconds of attention."""

    pulse: Pulse | None
    alive_at: float
    beat_at: float
    generation_at: float

    def next(self, pulse: Pulse | None, now: float) -> _Seen:
        if pulse is None:
            return self
        before = self.pulse or Pulse()
        return _Seen(
            pulse,
            now if pulse.alive != before.alive else self.alive_at,
            now if pulse.beat != before.beat or pulse.stage != before.stage else self.beat_at,
            now if pulse.generation != before.generation else self.generation_at,
        )


@dataclass(frozen=True, kw_only=True)
class Watchdog:
    """What has been seen of the ranks so far; `look` gives the next state."""

    patience: Patience
    world: int
    together: bool = False
    """Whether all ranks make one sample: then one that hangs silences the others, and rank 0 calls them."""
    looked: float | None = None
    """When it last looked, in seconds of the monotonic clock."""
    attention: float = 0.0
    """Seconds that it has watched."""
    seen: Mapping[int, _Seen] = field(default_factory=dict)

    def look(self, now: float, pulses: Mapping[int, Pulse]) -> Self:
        """Takes in what the ranks say.

        Args:
            now: Seconds of the monotonic clock.
            pulses: By rank; a rank may be missing.
        """
        passed = 0.0 if self.looked is None else min(now - self.looked, LONGEST_LOOK_SECONDS)
        attention = self.attention + passed
        start = _Seen(None, attention, attention, attention)
        seen = {
            rank: self.seen.get(rank, start).next(pulses.get(rank), attention) for rank in range(self.world)
        }
        return replace(self, looked=now, attention=attention, seen=seen)

    def verdict(self, ended: Collection[int] = ()) -> Hung | None:
        """Names the rank that has hung, if one has.

        Args:
            ended: Ranks that have said their last word.
        """
        watched = {rank: seen for rank, seen in self.seen.items() if rank not in ended}
        found = [hung for rank, seen in watched.items() if (hung := self._judge(rank, seen))]
        if not found:
            return None
        if self.together:
            # The others wait for the one that hangs, and may run out of patience first.
            found = [
                self._judge(rank, seen) or self._accused(rank, seen)
                for rank, seen in watched.items()
                if self._stands_still(seen) or not self._waits_for_leader(rank, seen)
            ]
        return min(found, key=self._guilt)

    def _judge(self, rank: int, seen: _Seen) -> Hung | None:
        pulse, now = seen.pulse or Pulse(), self.attention
        still = self.patience.start if seen.pulse is None else self.patience.shortest
        limits = [("has not run", now - seen.alive_at, still)]
        if not self._waits_for_leader(rank, seen):
            limits.append(("has not moved on", now - seen.beat_at, self.patience.between_beats(pulse)))
        if pulse.stage is not Stage.APART:
            limits.append(("has worked", now - seen.generation_at, self.patience.of_generation(pulse)))
        for what, silent, limit in limits:
            if silent > limit:
                return self._hung(rank, seen, what, silent, limit)
        return None

    def _waits_for_leader(self, rank: int, seen: _Seen) -> bool:
        """Whether a rank has done all that its leader has begun."""
        if not self.together or rank == 0 or seen.pulse is None or 0 not in self.seen:
            return False
        leader = self.seen[0].pulse or Pulse()
        return seen.pulse.stage is Stage.APART and seen.pulse.generation >= leader.generation

    def _accused(self, rank: int, seen: _Seen) -> Hung:
        """Words for a rank that is within its limits while another, which may wait for it, is not."""
        stands = self._stands_still(seen)
        what, since = ("has not run", seen.alive_at) if stands else ("has not moved on", seen.beat_at)
        limit = self.patience.shortest if stands else self.patience.between_beats(seen.pulse or Pulse())
        return self._hung(rank, seen, what, self.attention - since, limit)

    def _hung(self, rank: int, seen: _Seen, what: str, silent: float, limit: float) -> Hung:
        return Hung(rank=rank, pulse=seen.pulse, what=what, silent_seconds=silent, limit_seconds=limit)

    def _guilt(self, hung: Hung) -> tuple[bool, int, int, float]:
        """Orders suspects: who does not run at all, then who is furthest behind, then who is silent longest."""
        seen, pulse = self.seen[hung.rank], hung.pulse or Pulse()
        return (not self._stands_still(seen), pulse.generation, pulse.evaluation, seen.beat_at)

    def _stands_still(self, seen: _Seen) -> bool:
        return self.attention - seen.alive_at > min(self.patience.shortest / 2, LONGEST_LOOK_SECONDS)


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise WrongJobError(f"the variable {variable} is {text!r}; wanted is a number of seconds above 0")
    return seconds
