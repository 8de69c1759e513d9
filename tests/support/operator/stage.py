"""One operator for all tests of a file: it serves every namespace, behind a gateway that a test may hold shut."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from support.operator.gateway import Gateway, Reply, Seen
from support.operator.jobs import Document, condition, status
from support.operator.process import Operator
from support.processes import wait_until

if TYPE_CHECKING:
    from support.cluster import AuditEvent, Cluster
    from support.kubelet import Kubelet


@dataclass(frozen=True)
class Stage:
    """A cluster with a node and an operator; a test has a namespace of its own on it."""

    plane: Cluster
    nodes: Kubelet
    gateway: Gateway
    operator: Operator

    def await_stand(self, job: Document, kind: str, stood: str, reason: str) -> str:
        """Waits until a condition of the job stands so, and gives its message."""

        def look() -> Document | None:
            found = condition(status(self.plane.api, job), kind)
            return found if (found.get("status"), found.get("reason")) == (stood, reason) else None

        found = wait_until(look, what=f"{kind} to be {stood} for {reason}", seconds=90)
        return str(found["message"])

    def await_words(self, job: Document, kind: str, words: str, *, poked: bool = False) -> str:
        """Waits until a condition's message has these words, and gives it.

        Args:
            job: The job.
            kind: The condition's type.
            words: Part of its message.
            poked: Whether the operator is made to look, since it does not see that a clock has jumped.
        """

        def look() -> str:
            if poked:
                self.poke(job)
            message = str(condition(status(self.plane.api, job), kind).get("message", ""))
            return message if words in message else ""

        pause = 0.5 if poked else 0.02
        return wait_until(look, what=f"{kind} to say {words!r}", seconds=90, pause=pause)

    def await_looks(self, times: int) -> None:
        """Waits until the operator has compared everything so often, and so has looked at every job."""
        listed = 'asyncdiff_operator_api_calls_total{code="200",resource="asyncdiffjobs",verb="list"}'
        enough = self.operator.metric(listed) + times
        wait_until(lambda: self.operator.metric(listed) >= enough, what=f"{times} comparisons", seconds=90)

    def poke(self, job: Document) -> None:
        """Changes something about the job that means nothing, so that the operator looks at it."""
        self.plane.api.patch(job, {"metadata": {"annotations": {"poke": uuid.uuid4().hex}}})

    @contextmanager
    def held_back(self, method: str, part: str) -> Iterator[None]:
        """The operator's requests of this kind do not get through for as long as the context lasts."""

        def refuse(seen: Seen) -> Reply | None:
            return Reply(503, "ServiceUnavailable") if seen.method == method and part in seen.path else None

        before, self.gateway.before = self.gateway.before, refuse
        try:
            yield
        finally:
            self.gateway.before = before

    @contextmanager
    def later(self, **parts: float) -> Iterator[None]:
        """The API server's clock has jumped, so that nobody waits for a deadline: ``later(hours=1)``."""
        self.gateway.ahead = timedelta(**parts)
        try:
            yield
        finally:
            self.gateway.ahead = timedelta(0)

    def written(self, namespace: str, since: int = 0) -> list[AuditEvent]:
        """What the operator has written in a namespace, refused requests among it."""
        writes = self.plane.audit.writes(since)
        mine = [event for event in writes if event.user == self.gateway.user]
        return [event for event in mine if event.namespace == namespace and event.resource != "leases"]


def once(method: str, part: str, reply: Reply) -> Callable[[Seen], Reply | None]:
    """Answers the first request of a kind in the API server's place, and lets all others through."""
    left: list[Any] = [reply]

    def answer(seen: Seen) -> Reply | None:
        return left.pop() if left and seen.method == method and part in seen.path else None

    return answer
