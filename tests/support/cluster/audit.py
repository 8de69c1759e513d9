"""The API server's audit log: who asked for what, request by request."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.api import Api

MARK = "audit-mark"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class AuditEvent:
    """One request as the API server saw it.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, deletecollection.
        user: who asked, such as system:serviceaccount:NAMESPACE:NAME.
        user_agent: the program that asked, in its own words.
        resource: the plural name, with the subresource after a slash; empty for addresses outside the API.
        namespace: where the object is; empty for the whole cluster.
        name: the object; empty for lists and for creations that leave naming to the server.
        code: the HTTP status of the answer.
        uri: the address asked for, with its query.
        stage: ResponseComplete, or for a watch that goes on ResponseStarted.
        received: when the request came in.
        raw: the event as it was written.
    """

    verb: str
    user: str
    user_agent: str
    resource: str
    namespace: str
    name: str
    code: int
    uri: str
    stage: str
    received: datetime
    raw: dict[str, Any] = field(repr=False)

    @property
    def is_write(self) -> bool:
        """Whether it was to change something; dry runs are not."""
        return self.verb in WRITES and "dryRun=All" not in self.uri

    @classmethod
    def parse(cls, line: str) -> AuditEvent:
        """Reads a line of the log."""
        raw = json.loads(line)
        target = raw.get("objectRef", {})
        return cls(
            verb=raw["verb"],
            user=raw["user"].get("username", ""),
            user_agent=raw.get("userAgent", ""),
            resource="/".join(filter(None, (target.get("resource"), target.get("subresource")))),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            code=raw.get("responseStatus", {}).get("code", 0),
            uri=raw["requestURI"],
            stage=raw["stage"],
            received=datetime.fromisoformat(raw["requestReceivedTimestamp"]),
            raw=raw,
        )


@dataclass(frozen=True)
class AuditLog:
    """Reads the log that the API server writes.

    A request is logged after its answer is sent. Each look at the log therefore first makes a request of
    its own and waits until that is logged, so that requests answered before the look are seen.
    """

    path: Path
    api: Api

    def position(self) -> int:
        """Where the log ends now: requests answered from here on come after it."""
        self._catch_up()
        return self.path.stat().st_size

    def events(self, since: int = 0) -> list[AuditEvent]:
        """All requests answered since a position."""
        self._catch_up()
        return [event for event in self._read(since) if MARK not in event.uri]

    def writes(self, since: int = 0) -> list[AuditEvent]:
        """The requests that were to change something, refused ones among them."""
        return [event for event in self.events(since) if event.is_write]

    def _catch_up(self) -> None:
        end = self.path.stat().st_size
        mark = uuid.uuid4().hex
        self.api.request("GET", "/version", query={MARK: mark})
        wait_until(
            lambda: any(mark in event.uri for event in self._read(end)),
            what=f"a request marked {mark} to be logged in {self.path}",
        )

    def _read(self, since: int) -> Iterator[AuditEvent]:
        with self.path.open("rb") as log:
            log.seek(since)
            for line in log:
                if line.endswith(b"\n"):  # the last line may be half written
                    yield AuditEvent.parse(line.decode())
