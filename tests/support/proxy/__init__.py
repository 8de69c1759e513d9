"""A proxy that misbehaves on order, in front of any server on the loopback address.

    with Proxy.http(server.port) as proxy:                # in front of S3: knows requests and answers
        proxy.inject(Answer(503, "SlowDown"), where=asks("PUT", "/items/"), times=5)
        proxy.inject(Reset(after_bytes=1000), where=asks("GET"), skip=2, times=1)
        program(endpoint=f"http://127.0.0.1:{proxy.port}")
        assert proxy.exchanges[-1].status == 200

    with Proxy.tcp(cluster.port) as proxy:                # in front of TLS: knows connections alone
        proxy.inject(Hang(), times=3)                     # the next three connections
        proxy.freeze()                                    # nothing moves any more, on open ones either
        proxy.thaw()
        proxy.cut()                                       # every open connection is reset

| fault | HTTP: what becomes of a request | TCP: what becomes of a connection |
| --- | --- | --- |
| `Answer` | never reaches the server; this is the answer | |
| `Hang` | waits until the fault is lifted, then goes on | the same |
| `CutUpload` | its body reaches the server in part, then both sides are reset | |
| `LoseAnswer` | the server carries it out; the client is reset before the answer | |
| `Reset` | part of the answer's body, then a reset | part of what the server says, then a reset |
| `Truncate` | part of the answer's body, then an orderly end | the same |
| `GarbleUpload` | a byte of its body changes on the way | |
| `GarbleAnswer` | a byte of the answer's body changes on the way | |
| `Pace` | late, and slow in both directions | the same |

A server that is away needs no fault: kill it, and the proxy resets who asks.
"""

from support.proxy.faults import (
    Answer,
    CutUpload,
    Fault,
    GarbleAnswer,
    GarbleUpload,
    Hang,
    LoseAnswer,
    Pace,
    Reset,
    Truncate,
)
from support.proxy.plan import Exchange, Injection, Request, asks, everything
from support.proxy.server import Proxy

__all__ = [
    "Answer",
    "CutUpload",
    "Exchange",
    "Fault",
    "GarbleAnswer",
    "GarbleUpload",
    "Hang",
    "Injection",
    "LoseAnswer",
    "Pace",
    "Proxy",
    "Request",
    "Reset",
    "Truncate",
    "asks",
    "everything",
]
