"""Downloads that say how far they are, so that a long one is no silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from asyncdiff_runtime.batch.models.loading import Plan
from asyncdiff_runtime.batch.models.sources import Received

LOOK_SECONDS: Final = 1.0
"""Time between two looks at what has come."""


def download(plan: Plan, told: Callable[[Received], None]) -> None:
    """Brings all files of a plan to this machine.

    Args:
        plan: The plan.
        told: Told at the start, and from a thread of its own whenever something has come, whichever process or
            pod of a shared cache has fetched it. Not told anything where all files are here.

    Raises:
        ModelUnavailableError: As `Source`.
        OutageError: As `Source`.
    """
    first = plan.received()
    if first.whole:
        return
    told(first)
    with _looking(plan, first, told):
        plan.fetch_all()


@contextmanager
def _looking(plan: Plan, first: Received, told: Callable[[Received], None]) -> Iterator[None]:
    over = threading.Event()

    def look() -> None:
        before = first
        while not over.wait(LOOK_SECONDS):
            with suppress(OSError):  # the cache is in use: a file may be gone between two looks at it
                if (now := plan.received()) != before:
                    before = now
                    told(now)

    thread = threading.Thread(target=look, name="download", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
