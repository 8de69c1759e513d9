"""Ports on the loopback address for servers that cannot choose one themselves."""

from __future__ import annotations

import fcntl
import random
import socket
import struct
from collections.abc import Iterator

# Below Linux's range for outgoing connections (32768 and up, net.ipv4.ip_local_port_range), so that
# no connection of another process takes the port between choosing it and listening on it.
SERVER_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens; a server that restarts can keep it."""
    for port in random.SystemRandom().sample(SERVER_PORTS, k=200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(
        f"200 ports of 127.0.0.1 between {SERVER_PORTS.start} and {SERVER_PORTS.stop} were tried and all "
        "were taken; look for servers that an earlier run left behind (ss -ltnp)"
    )


SIOCGIFADDR = 0x8915  # linux/sockios.h


def addresses_of_this_machine() -> Iterator[str]:
    """The IPv4 addresses of its interfaces, the loopback's left out."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has none
                continue
        address = socket.inet_ntoa(answer[20:24])
        if not address.startswith("127."):
            yield address


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
