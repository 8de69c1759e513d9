"""The workers: they take jobs from the queue, have them looked at, and decide when to look again."""

from __future__ import annotations

import asyncio
import logging
import time

from asyncdiff_operator.apply import ChangedMeanwhileError
from asyncdiff_operator.cache import JobKey
from asyncdiff_operator.errors import ApiError, LeadershipLostError
from asyncdiff_operator.metrics import Metrics
from asyncdiff_operator.queue import QueueClosedError, Work, WorkQueue
from asyncdiff_operator.reconciler import NoEffectError, Reconciler

logger = logging.getLogger(__name__)


class Workers:
    """So many jobs are looked at at once; one job by one worker at a time, which the queue sees to."""

    def __init__(
        self, queue: WorkQueue[JobKey], reconciler: Reconciler, metrics: Metrics, *, count: int
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._count = count
        self._began: dict[JobKey, float] = {}

    async def run(self) -> None:
        """Works until the queue is closed, and what was begun then is done.

        Raises:
            LeadershipLostError: Another replica may be writing.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._work())

    def busy(self) -> int:
        """How many looks are under way."""
        return len(self._began)

    def longest_seconds(self) -> float:
        """For how long the slowest of the looks that are under way has lasted."""
        return max((time.monotonic() - began for began in self._began.values()), default=0.0)

    async def _work(self) -> None:
        while True:
            try:
                work = await self._queue.get()
            except QueueClosedError:
                return
            self._began[work.key] = time.monotonic()
            try:
                await self._look(work)
            finally:
                del self._began[work.key]
                self._queue.done(work.key)
            self._metrics.lag_seconds.observe(time.monotonic() - work.due_at)

    async def _look(self, work: Work[JobKey]) -> None:
        key = work.key
        try:
            with self._metrics.reconcile_seconds.time():
                again = await self._reconciler.reconcile(key)
        except LeadershipLostError:
            raise
        except ChangedMeanwhileError as error:
            self._try_again(key, "changed", error)
        except NoEffectError as error:
            self._try_again(key, "no effect", error)
        except ApiError as error:
            self._try_again(key, reason_of(error), error)
        except Exception as error:  # a job that brings out a defect must not take the others along
            logger.exception("looking at %s failed", key)
            self._try_again(key, "defect", error)
        else:
            self._queue.succeeded(key)
            if again is not None:
                self._queue.add(key, again)

    def _try_again(self, key: JobKey, reason: str, error: Exception) -> None:
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        seconds = self._queue.failed(key, asked)
        self._metrics.retries.labels(reason).inc()
        names = {"namespace": key.namespace, "job": key.name}
        logger.warning("%s is looked at again in %.1f s: %s", key, seconds, error, extra=names)


def reason_of(error: ApiError) -> str:
    """Gives the kind of a failure, one of few: the API server's word may be a webhook's own, another each time."""
    return type(error).__name__.removesuffix("Error")
