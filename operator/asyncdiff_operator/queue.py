"""The work queue: keys that want to be looked at, each at most once at a time.

`Agenda` is the rule, a plain object that is told the time; `WorkQueue` lets workers wait for it. The rule is that
of client-go's rate-limiting queue, with two additions. Where the API server asked to wait, new events do not
bring a key forward. And a key may be wanted with a head start: it then takes the turn of one that has been due for so
much longer, and no other is passed by what comes later than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

JITTER: Final = 0.2
"""Each delay is drawn from ± this share of it, so that keys that failed together do not return together."""
SPARE_ENTRIES: Final = 64
"""Entries that the agenda keeps beyond two for each key, before it sweeps out those that count no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long a key rests after its n-th failure in a row: `first_seconds` doubled each time, with a limit."""

    first_seconds: float = 0.25
    limit_seconds: float = 60.0

    def seconds(self, failures: int, chance: float) -> float:
        """Gives the rest after so many failures in a row (≥ 1); `chance` in [0, 1] draws the jitter."""
        doublings = min(failures - 1, 32)  # beyond, every sane limit is reached
        rest = min(self.first_seconds * 2.0**doublings, self.limit_seconds)
        return rest * (1 - JITTER + 2 * JITTER * chance)


@dataclass(frozen=True, slots=True)
class Work(Generic[K]):
    """A key that was handed to a worker."""

    key: K
    due_at: float
    """From when on it was wanted: the first event's arrival, or the end of a delay that was meant."""


class _Wish(NamedTuple):
    """That a key be looked at."""

    turn: float
    """Where it stands among those that are due: its `due`, or that less its head start."""
    due: float
    """From when on."""


_NEVER: Final = _Wish(float("inf"), float("inf"))


class Agenda(Generic[K]):
    """Which key is due when, and which are in work. Times are seconds of one monotonic clock."""

    def __init__(self, backoff: Backoff, chance: Callable[[], float] = random.random) -> None:
        self._backoff = backoff
        self._chance = chance
        self._wishes: dict[K, _Wish] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._not_before: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._in_work: set[K] = set()

    def add(self, key: K, now: float, after_seconds: float = 0.0, head_start_seconds: float = 0.0) -> None:
        """Wants a key looked at; of several wishes the earliest counts, and the earliest turn.

        Args:
            key: What is to be looked at.
            now: The time.
            after_seconds: For how long it is not due yet.
            head_start_seconds: For how much longer it counts as having been due than it has, if it is due now.
        """
        due = max(now + after_seconds, self._not_before.get(key, now))
        turn = due - head_start_seconds if due <= now else due
        known = self._wishes.get(key, _NEVER)
        if turn >= known.turn:
            return
        self._wishes[key] = _Wish(turn, min(due, known.due))
        if key not in self._in_work:
            self._push(key)

    def take(self, now: float) -> Work[K] | None:
        """Gives the key whose turn it is of those that are due and in nobody's work; None if there is none."""
        self._drop_stale_entries()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        self._not_before.pop(key, None)
        self._in_work.add(key)
        return Work(key, self._wishes.pop(key).due)

    def done(self, key: K) -> None:
        """Ends the work on a key; what was added meanwhile comes up again."""
        self._in_work.remove(key)
        if key in self._wishes:
            self._push(key)

    def succeeded(self, key: K) -> None:
        """Forgets the failures of a key."""
        self._failures.pop(key, None)

    def failed(self, key: K, now: float, at_least_seconds: float = 0.0) -> float:
        """Wants a key tried again after its backoff and gives the seconds.

        Args:
            key: what failed.
            now: the time.
            at_least_seconds: what the API server asked for; until then nothing brings the key forward.
        """
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(self._backoff.seconds(self._failures[key], self._chance()), at_least_seconds)
        if at_least_seconds > 0:
            self._not_before[key] = now + at_least_seconds
            self._wishes.pop(key, None)
        self.add(key, now, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Removes a key and all that is known of it; work on it that is under way goes on."""
        for table in (self._wishes, self._not_before, self._failures):
            table.pop(key, None)

    def next_due(self) -> float | None:
        """Gives the time from which on a key can be taken; None if nothing waits."""
        self._drop_stale_entries()
        return self._wishes[self._heap[0][2]].due if self._heap else None

    def failures(self, key: K) -> int:
        """How often a key failed in a row."""
        return self._failures.get(key, 0)

    def depth(self, now: float) -> int:
        """How many keys are due and wait for a worker."""
        return sum(1 for wish in self._wishes.values() if wish.due <= now)

    def oldest_seconds(self, now: float) -> float:
        """For how long the first of them has waited."""
        return max((now - wish.due for wish in self._wishes.values() if wish.due <= now), default=0.0)

    def entries(self) -> int:
        """How many entries are held, those that count no more among them."""
        return len(self._heap)

    def _push(self, key: K) -> None:
        heapq.heappush(self._heap, (self._wishes[key].turn, next(self._order), key))
        if len(self._heap) > 2 * len(self._wishes) + SPARE_ENTRIES:
            # One that was brought forward from days ahead would stay for days, and there is one more after each look.
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapq.heapify(self._heap)

    def _counts(self, entry: tuple[float, int, K]) -> bool:
        turn, _, key = entry
        return self._wishes.get(key, _NEVER).turn == turn and key not in self._in_work

    def _drop_stale_entries(self) -> None:
        """A key that was brought forward, taken or forgotten leaves its old entry behind."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)


class QueueClosedError(Exception):
    """The queue hands out nothing any more."""


class WorkQueue(Generic[K]):
    """An `Agenda` on the event loop."""

    def __init__(self, backoff: Backoff = Backoff(), clock: Callable[[], float] = time.monotonic) -> None:
        self._agenda: Agenda[K] = Agenda(backoff)
        self._clock = clock
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False

    def add(self, key: K, after_seconds: float = 0.0, head_start_seconds: float = 0.0) -> None:
        """Wants a key looked at, at once, with a head start or without, or after some seconds."""
        self._agenda.add(key, self._clock(), after_seconds, head_start_seconds)
        self._changed.set()

    async def get(self) -> Work[K]:
        """Waits for a key that is due; whoever gets it calls `done`.

        Raises:
            QueueClosedError: Nothing is handed out any more.
        """
        async with self._turn:  # one worker waits for a change, so that a change wakes one
            while not self._closed:
                if (work := self._agenda.take(self._clock())) is not None:
                    return work
                self._changed.clear()
                await self._wait_for_change()
        raise QueueClosedError

    def close(self) -> None:
        """Hands out nothing any more."""
        self._closed = True
        self._changed.set()

    def done(self, key: K) -> None:
        """Ends the work on a key."""
        self._agenda.done(key)
        self._changed.set()

    def succeeded(self, key: K) -> None:
        """Forgets the failures of a key."""
        self._agenda.succeeded(key)

    def failed(self, key: K, at_least_seconds: float = 0.0) -> float:
        """Wants a key tried again after its backoff and gives the seconds."""
        seconds = self._agenda.failed(key, self._clock(), at_least_seconds)
        self._changed.set()
        return seconds

    def forget(self, key: K) -> None:
        """Removes a key and all that is known of it."""
        self._agenda.forget(key)

    def depth(self) -> int:
        """How many keys are due and wait for a worker."""
        return self._agenda.depth(self._clock())

    def oldest_seconds(self) -> float:
        """For how long the first of them has waited."""
        return self._agenda.oldest_seconds(self._clock())

    async def _wait_for_change(self) -> None:
        due = self._agenda.next_due()
        rest = None if due is None else max(0.0, due - self._clock())
        # In Python 3.11 `wait_for` loses a cancellation that comes together with what it waits for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest):
                await self._changed.wait()
