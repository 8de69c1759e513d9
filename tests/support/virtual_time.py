"""An event loop whose clock jumps: what would take hours of waiting is over in moments, and always the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Where a loop would wait, time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits for another: in real time this would hang"
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what waits for times alone; nothing on it can wait for the world."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jump.now


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine as `asyncio.run` does, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
