"""An S3 service with a certificate of one's own authority is used where that is trusted, and refused where not."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncdiff_api.formats.errors import OutputRefusedError
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from cryptography.hazmat.primitives.serialization import Encoding
from support.cluster.certificates import Authority


class OneObject(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the same object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"whole")

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class QuietServer(http.server.ThreadingHTTPServer):
    """Says nothing of clients that do not trust it."""

    def handle_error(self, *args: object) -> None:
        """Is what this is about."""


@pytest.fixture
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def endpoint(authority: Authority, tmp_path: Path) -> Iterator[str]:
    pair = authority.issue_to_server(["127.0.0.1"])
    for name, data in (("server.crt", pair.certificate), ("server.key", pair.key)):
        (tmp_path / name).write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with QuietServer(("127.0.0.1", 0), OneObject) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)


@pytest.mark.usefixtures("environment")
def test_a_certificate_of_an_unknown_authority_is_refused_with_the_remedy(endpoint: str) -> None:
    with pytest.raises(OutputRefusedError, match=r"certificate of https://127\.0\.0\.1.*AWS_CA_BUNDLE"):
        S3Storage("renders", "", S3Options(endpoint=endpoint)).read("a.png")


@pytest.mark.usefixtures("environment")
def test_a_bundle_with_the_authority_lets_it_be_used(
    endpoint: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert S3Storage("renders", "", S3Options(endpoint=endpoint)).read("a.png") == b"whole"
