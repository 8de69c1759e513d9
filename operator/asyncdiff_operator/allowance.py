"""How often something may be done: a few times at once, and from then on at a rate."""

from __future__ import annotations


class Allowance:
    """A token bucket: full at first, refilled steadily, told the time by whoever asks."""

    def __init__(self, *, at_once: int, seconds_each: float, now: float) -> None:
        """Allows `at_once` uses from now on, and one more every `seconds_each`; without end if that is 0."""
        self._at_once = at_once
        self._seconds_each = seconds_each
        self._left = float(at_once)
        self._counted_at = now

    def rest_seconds(self, now: float) -> float:
        """For how long there is nothing left; 0 if it may be done now."""
        self._refill(now)
        return max(0.0, (1 - self._left) * self._seconds_each)

    def use(self, now: float) -> None:
        """Takes note that it is done."""
        self._refill(now)
        self._left = max(0.0, self._left - 1)

    def _refill(self, now: float) -> None:
        gained = (now - self._counted_at) / self._seconds_each if self._seconds_each else self._at_once
        self._left = min(float(self._at_once), self._left + gained)
        self._counted_at = now
