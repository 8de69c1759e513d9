"""Waiting on conditions instead of sleeping for a guess."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(attempt: Callable[[], T | None], *, what: str, seconds: float = 60, pause: float = 0.02) -> T:
    """Calls `attempt` until it gives something true, and returns that.

    Args:
        attempt: a look at the world; None, False or an empty collection mean "not yet".
        what: the awaited state in words, for the error.
        seconds: when to give up; generous, since only a broken run waits that long.
        pause: seconds between two looks.

    Raises:
        TimeoutError: the state did not come in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        if found := attempt():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(pause)
