"""Tells whoever waits for a build that it is alive."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_BETWEEN_LINES_IN_A_LOG = 30.0
SECONDS_BETWEEN_UPDATES_ON_A_TERMINAL = 1.0
ERASE_LINE = "\r\x1b[2K"


class Progress:
    """Lines on a stream: on a terminal one that is rewritten every second, in a log a new one now and then."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def say(self, text: str) -> None:
        """Writes one line."""
        print(text, file=self.stream, flush=True)

    @contextlib.contextmanager
    def following(self, title: str, output: TextIO) -> Iterator[None]:
        """Reports the time and the number of lines in a file that another process writes to.

        Args:
            title: what is under way.
            output: the file; a line in it is a package compiled.
        """
        done = threading.Event()
        started = time.monotonic()

        def state() -> str:
            minutes, seconds = divmod(round(time.monotonic() - started), 60)
            return f"{title}: {minutes}:{seconds:02} min, {line_count(output)} packages"

        def report() -> None:
            terminal = self.stream.isatty()
            pause = SECONDS_BETWEEN_UPDATES_ON_A_TERMINAL if terminal else SECONDS_BETWEEN_LINES_IN_A_LOG
            start, end = (ERASE_LINE, "") if terminal else ("", "\n")
            while not done.wait(pause):
                print(start + state(), end=end, file=self.stream, flush=True)
            print(f"{start}{state()}, done", file=self.stream, flush=True)

        self.say(f"{title} …")
        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            yield
        finally:
            done.set()
            reporter.join()


def line_count(file: TextIO) -> int:
    """Counts the lines of an open file without moving the position at which it is written."""
    descriptor = file.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).count(b"\n")
