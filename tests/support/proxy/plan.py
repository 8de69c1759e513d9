"""Which requests meet which fault."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from support.proxy.faults import Fault


@dataclass(frozen=True)
class Request:
    """What a proxy knows when it decides; of a TCP connection its number alone."""

    number: int
    """Of this proxy's requests, or connections, from 0."""
    method: str = ""
    target: str = ""
    """Path and query as they were sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """By name in small letters."""


@dataclass(frozen=True)
class Exchange:
    """A request that is over, or the connection of a TCP proxy."""

    request: Request
    status: int | None
    """Of the answer; None if none was passed on."""
    sent_bytes: int
    """From client to server, of bodies alone."""
    received_bytes: int
    """From server to client, of bodies alone."""


Where = Callable[[Request], bool]


def everything(request: Request) -> bool:
    """Chooses every request."""
    return bool(request)


def asks(method: str, target: str = "") -> Where:
    """Chooses requests by method (several with `|` between them) and a regular expression found in the target."""
    methods = frozenset(method.split("|"))
    return lambda request: request.method in methods and re.search(target, request.target) is not None


@dataclass(eq=False)
class Injection:
    """A fault that was ordered."""

    fault: Fault
    where: Where
    times: int | None
    """Requests that still meet it; None for all of them."""
    skip: int
    """Requests that are let through first."""
    loop: asyncio.AbstractEventLoop
    hits: int = 0
    """Requests that have met it."""
    lifted: asyncio.Event = field(default_factory=asyncio.Event)

    def lift(self) -> None:
        """Ends the fault; what hangs by it goes on."""
        self.times = 0
        self.loop.call_soon_threadsafe(self.lifted.set)

    def meets(self, request: Request) -> bool:
        """Whether the request is to meet the fault; counts it if so."""
        if self.times == 0 or not self.where(request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True


class Plan:
    """The faults of a proxy, the oldest first; a request meets one at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._injections: list[Injection] = []

    def add(self, fault: Fault, where: Where, times: int | None, skip: int) -> Injection:
        """Orders a fault."""
        injection = Injection(fault, where, times, skip, self._loop)
        with self._lock:
            self._injections.append(injection)
        return injection

    def choose(self, request: Request) -> Injection | None:
        """Gives the fault that a request meets."""
        with self._lock:
            return next((found for found in self._injections if found.meets(request)), None)

    def clear(self) -> None:
        """Lifts all faults."""
        with self._lock:
            for injection in self._injections:
                injection.lift()
            self._injections.clear()
