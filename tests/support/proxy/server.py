"""The proxy: an event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType

from support.listening import stop_listening
from support.processes import free_port
from support.proxy.faults import Fault
from support.proxy.http import relay_http
from support.proxy.plan import Exchange, Injection, Plan, Where, everything
from support.proxy.streams import Link, reset
from support.proxy.tcp import relay_tcp

Relay = Callable[["Proxy", Link, Link], Awaitable[None]]


class Proxy:
    """A proxy in front of a port of the loopback address."""

    def __init__(self, upstream: int, relay: Relay) -> None:
        self.port = free_port()
        self.exchanges: list[Exchange] = []
        """What has passed, in the order in which it ended; noted just after its last byte."""
        self.numbers = itertools.count()
        self._upstream = upstream
        self._relay = relay
        self._loop = asyncio.new_event_loop()
        self.plan = Plan(self._loop)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[Link] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())

    @classmethod
    def http(cls, upstream: int) -> Proxy:
        """A proxy that tells requests apart; what it is asked must not be encrypted."""
        return cls(upstream, relay_http)

    @classmethod
    def tcp(cls, upstream: int) -> Proxy:
        """A proxy of bytes, such as those of TLS."""
        return cls(upstream, relay_tcp)

    @property
    def endpoint(self) -> str:
        """The proxy's address as that of an HTTP server."""
        return f"http://127.0.0.1:{self.port}"

    def inject(
        self, fault: Fault, where: Where = everything, times: int | None = None, skip: int = 0
    ) -> Injection:
        """Orders a fault.

        Args:
            fault: What happens.
            where: To which requests.
            times: To how many of them; None for all until it is lifted.
            skip: How many of them are let through first.
        """
        return self.plan.add(fault, where, times, skip)

    def clear(self) -> None:
        """Lifts all faults."""
        self.plan.clear()

    def freeze(self) -> None:
        """Holds every byte back, on connections that are open too."""
        self._do(_at_once(self._flowing.clear))

    def thaw(self) -> None:
        """Lets bytes flow again."""
        self._do(_at_once(self._flowing.set))

    def cut(self) -> None:
        """Resets every open connection."""
        self._do(_at_once(self._reset_all))

    def close(self) -> None:
        """Ends proxy and connections."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self.port)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection until either side ends it."""
        client = Link(reader, writer, self._flowing)
        self._links.add(client)
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            server = Link(*await asyncio.open_connection("127.0.0.1", self._upstream), self._flowing)
            self._links.add(server)
            try:
                await self._relay(self, client, server)
            finally:
                self._links.discard(server)
                server.writer.close()
        except (OSError, EOFError):  # one side is gone: the other is told in the only way there is
            reset(client)
        except asyncio.CancelledError:
            reset(client)
        finally:
            self._conversations.discard(task)
            self._links.discard(client)
            client.writer.close()

    def _reset_all(self) -> None:
        for link in list(self._links):
            reset(link)

    async def _end(self) -> None:
        await stop_listening(self._server)
        tasks = list(self._conversations)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _at_once(act: Callable[[], None]) -> None:
    act()
