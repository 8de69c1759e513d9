"""Inputs over HTTPS: from hosts that were allowed by name, at public addresses, without redirects.

A worklist is written by someone who need not be trusted with the cluster's network. So a name is resolved
once, each of its addresses must be a public one, and the connection goes to the address that was checked: a
name that answers otherwise a moment later changes nothing. No proxy is used, since it would resolve the name
again.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from asyncdiff_api.formats.container import INPUT_HOSTS_VARIABLE
from asyncdiff_api.formats.errors import InputRefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.5
SILENCE_SECONDS: Final = 20.0
"""Longest pause of a server within a download."""
DOWNLOAD_SECONDS: Final = 300.0
_CHUNK_BYTES: Final = 2**18
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6 (RFC 6052)."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet: not loopback, link-local, private or multicast."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


@dataclass(frozen=True)
class HttpsReader:
    """Reads documents of allowed hosts.

    Attributes:
        hosts: Allowed hosts as `host`, `host:port` or `*.domain`; nothing else is asked.
        permits: Which addresses a host may have.
        tls: How servers are trusted.
    """

    hosts: frozenset[str] = frozenset()
    permits: Callable[[Address], bool] = is_public
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    @classmethod
    def of_environment(cls) -> HttpsReader:
        """Gives a reader of the hosts that the variable `INPUT_HOSTS_VARIABLE` lists; of none without it."""
        words = os.environ.get(INPUT_HOSTS_VARIABLE, "").replace(",", " ").split()
        return cls(frozenset(word.lower() for word in words))

    def check(self, url: str) -> None:
        """Refuses an address whose host is not allowed; asks nobody.

        Raises:
            InputRefusedError: It is not allowed, or is no plain address.
        """
        self._split(url)

    def read(self, url: str, limit_bytes: int) -> bytes:
        """Gives a document.

        Raises:
            InputRefusedError: It is not allowed, not there, too large, or was not had in several attempts.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._get(url, limit_bytes)
            except (OSError, http.client.HTTPException):
                time.sleep(PAUSE_SECONDS)
        try:
            return self._get(url, limit_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise InputRefusedError(
                f"{url} was not had in {ATTEMPTS} attempts ({type(error).__name__}: {error}); see that its server "
                "answers, or copy it into a bucket"
            ) from error

    def _get(self, url: str, limit_bytes: int) -> bytes:
        host, port, target = self._split(url)
        connection = _Pinned(host, port, self._resolve(url, host, port), self.tls)
        try:
            connection.request(
                "GET", target, headers={"User-Agent": "asyncdiff", "Accept-Encoding": "identity"}
            )
            answer = connection.getresponse()
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise http.client.HTTPException(f"HTTP {answer.status}")
            if answer.status != HTTPStatus.OK:
                where = f" to {answer.headers['Location']}" if answer.headers["Location"] else ""
                raise InputRefusedError(
                    f"{url} answers with HTTP {answer.status}{where}, wanted is 200 (redirects are not followed); "
                    "correct the address"
                )
            return _body(answer, url, limit_bytes)
        finally:
            connection.close()

    def _split(self, url: str) -> tuple[str, int, str]:
        """Gives host, port and target of an address that is allowed."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port or 443
        except ValueError as error:
            raise InputRefusedError(f"{url} is no address ({error}); correct it") from error
        plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme != "https" or not host or parts.username is not None or not plain:
            raise InputRefusedError(
                f"{url} is no plain https:// address: no user, no spaces, other signs written as %XX; correct it"
            )
        names = {host, f"*.{host.partition('.')[2]}"} if port == 443 else set()
        if not (names | {f"{host}:{port}"}) & self.hosts:
            allowed = f"allowed are {', '.join(sorted(self.hosts))}" if self.hosts else "no host is allowed"
            raise InputRefusedError(
                f"{url}: inputs over https come only from hosts that {INPUT_HOSTS_VARIABLE} lists, and {allowed}; "
                "have the host added, or copy the file into a bucket"
            )
        return host, port, f"{parts.path}?{parts.query}" if parts.query else parts.path

    def _resolve(self, url: str, host: str, port: int) -> str:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if refused := self._refused(addresses):
            raise InputRefusedError(
                f"{url}: {host} has the address {refused}, which is not a public one; copy the file into a bucket"
            )
        return str(addresses[0])

    def _refused(self, addresses: Iterable[Address]) -> Address | None:
        return next((address for address in addresses if not self.permits(address)), None)


class _Pinned(http.client.HTTPSConnection):
    """A connection to an address, to a server that proves to be the host."""

    def __init__(self, host: str, port: int, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=SILENCE_SECONDS, context=tls)
        self._address = address
        self._tls = tls

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _body(answer: http.client.HTTPResponse, url: str, limit_bytes: int) -> bytes:
    until, parts, size = time.monotonic() + DOWNLOAD_SECONDS, [], 0
    while part := answer.read(_CHUNK_BYTES):
        size += len(part)
        if size > limit_bytes:
            raise InputRefusedError(f"{url} is larger than {limit_bytes} bytes; make it smaller")
        if time.monotonic() > until:
            raise TimeoutError(f"not whole after {DOWNLOAD_SECONDS:.0f} s")
        parts.append(part)
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(parts)
