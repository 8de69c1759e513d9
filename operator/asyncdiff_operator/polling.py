"""Asks running pods how far they are. Nothing is decided from it: a poll that fails changes only freshness.

Pods are not trusted: an answer has 2 s and 64 KiB, is not followed elsewhere, and must be a report of the very
shard that the pod works on. Each pod has its own period, longer where there are many pods, and longer still
for a pod that does not answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import aiohttp
from asyncdiff_api.formats.container import HTTP_PORT, PROGRESS_PATH
from asyncdiff_api.formats.errors import DamagedRecordError
from asyncdiff_api.formats.progress import MAX_PROGRESS_BYTES, Progress

from asyncdiff_operator.cache import JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.names import INDEX_ANNOTATION
from asyncdiff_operator.observed import Manifest, Report
from asyncdiff_operator.queue import Backoff, WorkQueue
from asyncdiff_operator.resources import PODS, describe

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 2.0
CONCURRENT_POLLS: Final = 32
POLLS_PER_SECOND: Final = 50.0
"""What all pods together are asked at most; with more pods each is asked less often."""
LONGEST_REST_SECONDS: Final = 120.0
REACHABLE_PERIODS: Final = 3.0
"""A job whose last answer is older than so many periods is out of reach."""

Ask = Callable[[Manifest], Awaitable[bytes]]
"""Gets a pod's page."""


@dataclass(slots=True)
class _Followed:
    """The pods of one job that are asked."""

    key: JobKey
    pods: dict[str, Manifest] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    asked: bool = False
    answered_at: float | None = None


class Poller:
    """Polls the pods that it was told to follow."""

    def __init__(
        self,
        ask: Ask | None,
        *,
        period_seconds: float,
        now: Callable[[], datetime],
        on_report: Callable[[JobKey], None],
    ) -> None:
        """Asks nobody if `ask` is None.

        Args:
            ask: Gets the page of a pod.
            period_seconds: Between two polls of a pod where there are few.
            now: The API server's clock.
            on_report: Is told of which job a pod has answered.
        """
        self._ask = ask
        self._period_seconds = period_seconds
        self._now = now
        self._on_report = on_report
        self._jobs: dict[str, _Followed] = {}
        self._job_of: dict[str, str] = {}
        backoff = Backoff(first_seconds=2 * period_seconds, limit_seconds=LONGEST_REST_SECONDS)
        self._queue: WorkQueue[str] = WorkQueue(backoff)

    def follow(self, key: JobKey, job_uid: str, pods: Iterable[Manifest], present: Iterable[str]) -> None:
        """Asks these pods of a job from now on, and no others of it; keeps what pods still present have said."""
        if self._ask is None:
            return
        followed = self._jobs.setdefault(job_uid, _Followed(key))
        wanted = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid in followed.pods.keys() - wanted.keys():
            self._leave(uid, job_uid)
        for uid in wanted.keys() - followed.pods.keys():
            self._job_of[uid] = job_uid
            self._queue.add(uid)
        followed.pods = wanted
        kept = {*present, *wanted}
        followed.reports = {uid: report for uid, report in followed.reports.items() if uid in kept}

    def forget(self, job_uid: str) -> None:
        """Leaves all pods of a job that is gone."""
        followed = self._jobs.pop(job_uid, None)
        for uid in followed.pods if followed is not None else ():
            self._leave(uid, job_uid)

    def reports(self, job_uid: str) -> Mapping[str, Report]:
        """The last report of each pod of a job, by the pod's uid."""
        followed = self._jobs.get(job_uid)
        return {} if followed is None else dict(followed.reports)

    def reachable(self, job_uid: str) -> bool | None:
        """Whether any running pod of a job answered lately; None if none was asked."""
        followed = self._jobs.get(job_uid)
        if followed is None or not followed.asked or not followed.pods:
            return None
        if followed.answered_at is None:
            return False
        age = asyncio.get_running_loop().time() - followed.answered_at
        return age <= REACHABLE_PERIODS * self.period_seconds() + TIMEOUT_SECONDS

    def period_seconds(self) -> float:
        """Between two polls of a pod as many as there are now."""
        return max(self._period_seconds, len(self._job_of) / POLLS_PER_SECOND)

    async def run(self) -> None:
        """Polls until cancelled."""
        if self._ask is None:
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_POLLS):
                group.create_task(self._poll_one_after_another(self._ask))

    async def _poll_one_after_another(self, ask: Ask) -> None:
        while True:
            work = await self._queue.get()
            try:
                await self._poll(work.key, ask)
            finally:
                self._queue.done(work.key)

    async def _poll(self, uid: str, ask: Ask) -> None:
        if (followed := self._followed(uid)) is None:
            return
        pod = followed.pods[uid]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                content = await ask(pod)
            report = read_report(content, pod)
        except Exception as error:  # noqa: BLE001 -- however a poll fails, it costs freshness and nothing else
            logger.debug(
                "%s was asked for its progress in vain: %s", describe(pod), error, extra=_names(followed.key)
            )
            followed.asked = True
            if self._followed(uid) is not None:
                self._queue.failed(uid)
            return
        if self._followed(uid) is None:
            return
        followed.asked, followed.answered_at = True, asyncio.get_running_loop().time()
        followed.reports[uid] = Report(progress=report, received_at=self._now())
        self._queue.succeeded(uid)
        self._queue.add(uid, self.period_seconds())
        self._on_report(followed.key)

    def _followed(self, uid: str) -> _Followed | None:
        return self._jobs.get(self._job_of.get(uid, ""))

    def _leave(self, uid: str, job_uid: str) -> None:
        if self._job_of.get(uid) == job_uid:  # else another job has it: somebody has changed its label
            del self._job_of[uid]
            self._queue.forget(uid)


def _names(key: JobKey) -> dict[str, str]:
    return {"namespace": key.namespace, "job": key.name}


def read_report(content: bytes, pod: Manifest) -> Progress:
    """Reads a pod's page.

    Raises:
        ContractError: It is too large, not a report, or of another shard: its address is another pod's by now.
    """
    source = describe(pod)
    report = Progress.receive(content, source)
    index = pod["metadata"].get("annotations", {}).get(INDEX_ANNOTATION)
    if index is not None and report.shard != int(index):
        raise DamagedRecordError(f"{source} works on shard {index} and answered for shard {report.shard}")
    return report


def by_address(session: aiohttp.ClientSession) -> Ask:
    """Asks pods at their own address; the session shows nobody any credentials."""

    async def ask(pod: Manifest) -> bytes:
        address = pod.get("status", {}).get("podIP", "")
        if not address:
            raise ValueError(f"{describe(pod)} has no address yet")
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{HTTP_PORT}{PROGRESS_PATH}"
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answered {answer.status}")
            content = bytearray()
            async for part in answer.content.iter_any():
                content += part
                if len(content) > MAX_PROGRESS_BYTES:
                    break
            return bytes(content)

    return ask


def by_proxy(client: ApiClient) -> Ask:
    """Asks pods through the API server, for operators that no pod network reaches."""

    async def ask(pod: Manifest) -> bytes:
        metadata = pod["metadata"]
        address = PODS.address(metadata["namespace"], f"{metadata['name']}:{HTTP_PORT}", "proxy")
        return await client.read(
            address + PROGRESS_PATH, max_bytes=MAX_PROGRESS_BYTES, timeout_seconds=TIMEOUT_SECONDS
        )

    return ask
