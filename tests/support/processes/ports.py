"""Ports on the loopback address for servers that cannot choose one themselves."""

from __future__ import annotations

import random
import socket

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
