"""Ctrl-C, once to finish what is in hand and once more to stop at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType


@contextmanager
def draining_on_interrupt(say: Callable[[str], None]) -> Iterator[None]:
    """Makes of a first Ctrl-C what SIGTERM is to a run: it drains; a second one kills the ranks.

    Args:
        say: Tells the person who pressed it what happens.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C, or at the first where no rank was started yet.
    """
    pressed = 0

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1 and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            say("Finishing the items in hand; Ctrl-C once more stops at once, and they are made again later.")
            signal.raise_signal(signal.SIGTERM)
        else:
            _kill_children()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _kill_children() -> None:
    for children in Path("/proc/self/task").glob("*/children"):
        for process in children.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
