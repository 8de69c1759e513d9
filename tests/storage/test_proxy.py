"""The misbehaving proxy does what it is told, so that tests behind it mean something."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import cast

import pytest
from support.processes import wait_until
from support.proxy import (
    Answer,
    CutUpload,
    Fault,
    GarbleAnswer,
    Hang,
    LoseAnswer,
    Pace,
    Proxy,
    Reset,
    Truncate,
    asks,
)

CONTENT = bytes(range(256)) * 1000


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers GET with `CONTENT` and PUT with the size of what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(CONTENT)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) == int(self.headers["Content-Length"]):
            cast("EchoServer", self.server).stored.append(len(body))
            self._say(str(len(body)).encode())

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class EchoServer(http.server.ThreadingHTTPServer):
    """Keeps the sizes of what PUT requests have left."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.stored: list[int] = []

    def handle_error(self, *args: object) -> None:
        """Connections that break are what these tests are about."""


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[Proxy]:
    with Proxy.http(echo.server_port) as proxy:
        yield proxy


@pytest.fixture
def relay(echo: EchoServer) -> Iterator[Proxy]:
    with Proxy.tcp(echo.server_port) as proxy:
        yield proxy


def ask(proxy: Proxy, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    try:
        connection.request(method, "/items/a.png?x=1", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def drain(connection: socket.socket) -> None:
    while connection.recv(2**20):
        pass


def test_what_meets_no_fault_passes_unchanged_and_is_noted(proxy: Proxy, relay: Proxy) -> None:
    assert ask(proxy) == ask(relay) == (200, CONTENT)
    assert ask(proxy, "PUT", b"x" * 100_000) == (200, b"100000")
    read, written = wait_until(
        lambda: proxy.exchanges if len(proxy.exchanges) == 2 else None, what="two exchanges"
    )
    assert (read.request.method, read.status, read.received_bytes) == ("GET", 200, len(CONTENT))
    assert (written.request.target, written.sent_bytes) == ("/items/a.png?x=1", 100_000)


def test_a_fault_meets_as_many_chosen_requests_as_ordered(proxy: Proxy) -> None:
    fault = proxy.inject(Answer(503, "SlowDown"), where=asks("PUT", "/items/"), skip=1, times=2)
    assert [ask(proxy, "PUT", b"x")[0] for _ in range(4)] == [200, 503, 503, 200]
    assert ask(proxy)[0] == 200
    assert fault.hits == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reset(1000), ConnectionResetError),
        (Truncate(1000), http.client.IncompleteRead),
        (LoseAnswer(), ConnectionResetError),
    ],
)
def test_answers_break_off(proxy: Proxy, fault: Fault, error: type[Exception]) -> None:
    proxy.inject(fault, times=1)
    with pytest.raises(error):
        ask(proxy)
    assert ask(proxy) == (200, CONTENT)


@pytest.mark.parametrize("fault", [Reset(1000), Truncate(1000)])
def test_connections_break_off(relay: Proxy, fault: Fault) -> None:
    relay.inject(fault, times=1)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(relay)
    assert ask(relay) == (200, CONTENT)


def test_a_lost_answer_was_carried_out_and_a_cut_upload_was_not(proxy: Proxy, echo: EchoServer) -> None:
    echo.stored.clear()
    for fault in (LoseAnswer(), CutUpload(after_bytes=50)):
        proxy.inject(fault, times=1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask(proxy, "PUT", b"x" * 100)
    assert echo.stored == [100]


def test_a_garbling_line_changes_bytes_and_no_sizes(proxy: Proxy) -> None:
    proxy.inject(GarbleAnswer(), times=1)
    status, content = ask(proxy)
    assert (status, len(content)) == (200, len(CONTENT))
    assert content != CONTENT


@pytest.mark.parametrize("speak", ["proxy", "relay"])
def test_what_hangs_goes_on_when_the_fault_is_lifted(speak: str, request: pytest.FixtureRequest) -> None:
    proxy: Proxy = request.getfixturevalue(speak)
    fault = proxy.inject(Hang())
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(proxy)))
    asking.start()
    wait_until(lambda: fault.hits == 1, what="a request that hangs")
    assert answers == []
    fault.lift()
    asking.join()
    assert answers == [(200, CONTENT)]


def test_a_frozen_proxy_passes_nothing_until_it_thaws(relay: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=0.2) as connection:
        relay.freeze()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        relay.thaw()
        connection.settimeout(60)
        assert connection.recv(8) == b"HTTP/1.1"


def test_cutting_ends_connections_that_are_open_and_no_later_ones(relay: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(8) == b"HTTP/1.1"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            drain(connection)
    assert ask(relay) == (200, CONTENT)


def test_a_slow_line_passes_everything(proxy: Proxy) -> None:
    proxy.inject(Pace(bytes_per_second=50e6, delay_seconds=0.01))
    assert ask(proxy) == (200, CONTENT)


def test_a_server_that_is_away_resets_who_asks() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Proxy.http(nobody.getsockname()[1]) as proxy, pytest.raises(OSError, match=r"reset|Remote end"):
            ask(proxy)
