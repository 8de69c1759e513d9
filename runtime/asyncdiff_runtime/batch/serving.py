"""A pod's HTTP pages: read-only, for the operator's poll, for Prometheus and for the kubelet's probes."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseServer, ThreadingMixIn
from typing import Any, Final

from asyncdiff_api.formats.container import HEALTH_PATH, METRICS_PATH, PROGRESS_PATH
from prometheus_client.exposition import choose_encoder

from asyncdiff_runtime.batch.metrics import registry_of
from asyncdiff_runtime.batch.reporting import Reporter

logger = logging.getLogger(__name__)

CLIENT_SECONDS: Final = 5.0
"""A client that sends or takes nothing for so long is dropped."""
MOST_CLIENTS: Final = 16
"""Clients that are answered at once; more are turned away, so that none can exhaust the pod's threads."""
LOOK_SECONDS: Final = 30.0
"""A watch that has not looked after the ranks for so long is taken for dead."""


@dataclass(frozen=True)
class Page:
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


Pages = dict[str, Callable[[str], Page]]
"""For each path, what gives its page; told the Accept header."""


def pages_of(reporter: Reporter) -> Pages:
    """Gives a pod's pages."""
    registry = registry_of(lambda: reporter.view)

    def progress(_accept: str) -> Page:
        return Page(HTTPStatus.OK, "application/json", reporter.progress())

    def metrics(accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return Page(HTTPStatus.OK, content_type, encode(registry))

    def health(_accept: str) -> Page:
        trouble = trouble_of(reporter.view.looked, time.monotonic())
        status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
        answer = {"healthy": not trouble, **({"reason": trouble} if trouble else {})}
        return Page(status, "application/json", json.dumps(answer).encode())

    return {PROGRESS_PATH: progress, METRICS_PATH: metrics, HEALTH_PATH: health}


def trouble_of(looked: float | None, now: float) -> str:
    """Says what is wrong with a pod; empty if nothing is.

    Args:
        looked: When the ranks were last looked after; None while there are none.
        now: Seconds of the same clock.
    """
    if looked is None or now - looked <= LOOK_SECONDS:
        return ""
    return (
        f"the ranks were last looked after {now - looked:.0f} s ago, where {LOOK_SECONDS:.0f} s are allowed"
    )


@contextmanager
def serving(pages: Pages, port: int) -> Iterator[int]:
    """Serves pages from a thread; gives the port, which is another one for port 0.

    Raises:
        OSError: The port is taken.
    """
    with _Server(pages, port) as server:
        thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, pages: Pages, port: int) -> None:
        self.pages = pages
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        both = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if both else socket.AF_INET
        super().__init__(("", port), _Handler)

    def server_bind(self) -> None:
        """Takes connections of both kinds: a pod's address may be of either."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's own, which asks name servers for this host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "pod", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers on a thread of its own while there are not too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers, and makes room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 -- inherited
        """Logs what a page could not be made of; a client that goes away is no event."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.exception("a request of %s failed", client_address[0])


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS
    server_version = "asyncdiff"
    sys_version = ""

    def __init__(self, request: Any, client_address: Any, server: BaseServer) -> None:
        assert isinstance(server, _Server)
        self._pages = server.pages
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        """Answers with the page of the path; a query is passed over."""
        page = self._pages.get(self.path.partition("?")[0])
        if page is None:
            known = ", ".join(self._pages)
            self._answer(
                Page(
                    HTTPStatus.NOT_FOUND, "text/plain", f"there is no such page; there are {known}\n".encode()
                )
            )
            return
        self._answer(page(self.headers.get("Accept", "")))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- http.server's own name
        """Polls and scrapes are not logged."""

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page.body)
