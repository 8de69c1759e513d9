"""Inputs over https: which hosts and addresses are asked, and what they must answer."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from asyncdiff_api.formats.errors import InputRefusedError
from asyncdiff_runtime.batch.inputs.https import HttpsReader, is_public
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.pictures import file_of, halves


class Site(BaseHTTPRequestHandler):
    """A picture, a redirect, something endless, and errors that pass."""

    errors = 0

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "https://169.254.169.254/latest/meta-data/")
            self.end_headers()
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(1000))
        elif self.path == "/shaky" and not Site.errors:
            Site.errors += 1
            self.send_error(503)
        elif self.path in {"/a.png?version=1", "/shaky"}:
            data = file_of(halves())
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    """Port of a site on the loopback address, and the trust in its certificate for `localhost`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("site") / "site.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    server = HTTPServer(("127.0.0.1", 0), Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], ssl.create_default_context(cadata=pem.read_text())
    server.shutdown()
    server.server_close()


def reader(site: tuple[int, ssl.SSLContext], permits: Callable[[Any], bool] = lambda _: True) -> HttpsReader:
    port, trust = site
    return HttpsReader(frozenset({f"localhost:{port}"}), permits, trust)


def test_a_document_of_an_allowed_host_is_read_and_a_passing_error_is_passed_over(
    site: tuple[int, ssl.SSLContext],
) -> None:
    address = f"https://localhost:{site[0]}"
    assert reader(site).read(f"{address}/a.png?version=1", 10**6) == file_of(halves())
    assert reader(site).read(f"{address}/shaky", 10**6) == file_of(halves())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "answers with HTTP 404"),
        ("/moved", "HTTP 302 to https://169.254.169.254.*redirects are not followed"),
        ("/large", "is larger than 999 bytes"),
    ],
)
def test_what_is_not_simply_there_is_refused(site: tuple[int, ssl.SSLContext], path: str, said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        reader(site).read(f"https://localhost:{site[0]}{path}", 999)


def test_a_name_with_an_address_of_our_own_network_is_refused_even_when_it_is_allowed(
    site: tuple[int, ssl.SSLContext],
) -> None:
    with pytest.raises(
        InputRefusedError, match=r"has the address (127\.0\.0\.1|::1), which is not a public one"
    ):
        reader(site, is_public).read(f"https://localhost:{site[0]}/a.png?version=1", 10**6)


def test_a_server_that_cannot_prove_its_name_is_refused(site: tuple[int, ssl.SSLContext]) -> None:
    wary = HttpsReader(reader(site).hosts, lambda _: True)
    with pytest.raises(InputRefusedError, match="CERTIFICATE_VERIFY_FAILED"):
        wary.read(f"https://localhost:{site[0]}/a.png?version=1", 10**6)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://images.example.com/a.png", True),
        ("https://a.cdn.example.net/a.png", True),
        ("https://IMAGES.example.com/a.png", True),
        ("https://b.a.cdn.example.net/a.png", False),
        ("https://cdn.example.net/a.png", False),
        ("https://example.com/a.png", False),
        ("https://images.example.com:8443/a.png", False),
        ("https://other.example.org:8443/a.png", True),
        ("https://images.example.com@evil.example/a.png", False),
        ("https://user@images.example.com/a.png", False),
        ("https://images.example.com/a b.png", False),
        ("http://images.example.com/a.png", False),
        ("https://images.example.com:99999/a.png", False),
    ],
)
def test_hosts_are_allowed_by_name(url: str, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = "images.example.com, *.cdn.example.net other.example.org:8443"
    monkeypatch.setenv("ASYNCDIFF_INPUT_HOSTS", hosts)
    if allowed:
        HttpsReader.of_environment().check(url)
        return
    with pytest.raises(InputRefusedError):
        HttpsReader.of_environment().check(url)


def test_no_host_is_allowed_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCDIFF_INPUT_HOSTS", raising=False)
    with pytest.raises(InputRefusedError, match="no host is allowed; have the host added"):
        HttpsReader.of_environment().check("https://images.example.com/a.png")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_asked(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


# -- from addresses to pictures
