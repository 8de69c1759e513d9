"""Which replica may write: the one that holds a Lease (coordination.k8s.io/v1).

The rules are client-go's. A Lease is taken over only when its record has not changed for the duration that it
names, measured by the taker's own monotonic clock, so clocks need not agree. Its holder counts its time from
before the request that renewed it was sent, and gives up earlier than anybody can take over. A holder that hung
therefore knows, whenever it goes on, that its time is over: `check` before every write keeps it from writing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asyncdiff_operator.client import ApiClient, Document
from asyncdiff_operator.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    LeadershipLostError,
    NotFoundError,
)
from asyncdiff_operator.resources import LEASES

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTimes:
    """Seconds of a leader's life."""

    duration_seconds: float = 15.0
    """How long others wait for a sign of life before they take over."""
    renew_seconds: float = 10.0
    """How long the leader goes on without a renewal; less than the duration."""
    retry_seconds: float = 2.0
    """Between two attempts to get or to renew the Lease."""

    @classmethod
    def lasting(cls, seconds: float) -> LeaseTimes:
        """Gives the times of a Lease of this duration, in client-go's proportions of 15, 10 and 2."""
        return cls(duration_seconds=seconds, renew_seconds=seconds * 2 / 3, retry_seconds=seconds * 2 / 15)


class Elector:
    """One candidate. Its `check` and `remaining_seconds` guard every write."""

    def __init__(
        self,
        client: ApiClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes = LeaseTimes(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked before `acquire`.

        Args:
            client: Reads and writes the Lease, without a guard; its time-out is at most half of renew_seconds, so
                that a request that hangs leaves time for another.
            namespace: Of the Lease.
            name: Of the Lease.
            identity: What this candidate is called; no other process may ever use it at the same time.
            times: When to renew, when to give up.
            clock: Monotonic seconds.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._clock = clock
        self._leads_until = float("-inf")
        self._lease: Document | None = None
        self._seen_at = 0.0

    @property
    def leading(self) -> bool:
        """Whether this replica may write now."""
        return self.remaining_seconds() > 0

    def remaining_seconds(self) -> float:
        """For how long this replica may write if its Lease is not renewed; negative once it is over."""
        return self._leads_until - self._clock()

    def check(self) -> None:
        """Does nothing for the leader.

        Raises:
            LeadershipLostError: Another replica may be writing.
        """
        if not self.leading:
            raise LeadershipLostError(
                f"the Lease {self._namespace}/{self._name} was not renewed in time by {self._identity}: "
                "another replica may lead"
            )

    async def acquire(self) -> None:
        """Returns once this replica leads."""
        while not await self._attempt():
            await self._rest()

    async def keep(self) -> None:
        """Renews the Lease for as long as it can.

        Raises:
            LeadershipLostError: Another has it, or the API server could not be reached in time.
        """
        while True:
            await self._rest()
            self.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.remaining_seconds()):
                    await self._attempt()
            self.check()

    async def release(self) -> None:
        """Gives the Lease back, so that another need not wait; whatever fails is left to its duration."""
        held, self._leads_until = self.leading, float("-inf")
        if not held or self._lease is None:
            return
        try:
            await self._write(self._lease, holder="", duration_seconds=1)
        except ApiError as error:
            logger.warning("the Lease could not be given back and will run out by itself: %s", error)

    async def _rest(self) -> None:
        await asyncio.sleep(self._times.retry_seconds * random.uniform(1.0, 1.2))  # noqa: S311 -- jitter

    async def _attempt(self) -> bool:
        """Takes or renews the Lease if that is possible now; says whether this replica has it."""
        sent_at = self._clock()
        try:
            if not await self._take():
                return False
        except (ConflictError, AlreadyExistsError):
            await self._look_who_was_first()
            return False
        except ApiError as error:
            logger.warning("the Lease could not be %s: %s", "renewed" if self.leading else "taken", error)
            return False
        self._leads_until = sent_at + self._times.renew_seconds
        return True

    async def _take(self) -> bool:
        if not self._is_ours():
            await self._look()
        if self._lease is None:
            self._lease = await self._create()
            return True
        if self._is_ours() or self._is_free():
            self._lease = await self._write(
                self._lease, holder=self._identity, duration_seconds=self._times.duration_seconds
            )
            return True
        return False

    async def _look_who_was_first(self) -> None:
        """After a conflict: an edit by somebody else costs one attempt, another holder ends the leadership."""
        try:
            await self._look()
        except ApiError as error:
            logger.warning("the Lease could not be read: %s", error)
            self._lease = None
            return
        if not self._is_ours():
            self._leads_until = float("-inf")

    async def _look(self) -> None:
        """Reads the Lease and notes when its record last changed."""
        before = self._lease
        try:
            self._lease = await self._client.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            self._lease = None
            return
        if before is None or before["spec"] != self._lease["spec"]:
            self._seen_at = self._clock()

    def _is_ours(self) -> bool:
        return self._lease is not None and self._lease["spec"].get("holderIdentity") == self._identity

    def _is_free(self) -> bool:
        spec = self._lease["spec"] if self._lease is not None else {}
        duration = float(spec.get("leaseDurationSeconds") or self._times.duration_seconds)
        return not spec.get("holderIdentity") or self._clock() > self._seen_at + duration

    async def _create(self) -> Document:
        metadata = {"namespace": self._namespace, "name": self._name}
        spec = self._spec(self._identity, self._times.duration_seconds, transitions=0)
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        return await self._client.create(lease)

    async def _write(self, lease: Document, *, holder: str, duration_seconds: float) -> Document:
        before = lease["spec"]
        changed = before.get("holderIdentity") != holder
        transitions = int(before.get("leaseTransitions") or 0) + (1 if changed and holder else 0)
        spec = self._spec(holder, duration_seconds, transitions)
        if not changed:
            spec["acquireTime"] = before.get("acquireTime", spec["acquireTime"])
        return await self._client.replace({**lease, "spec": spec})

    def _spec(self, holder: str, duration_seconds: float, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration_seconds)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
