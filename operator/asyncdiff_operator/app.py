"""The operator as a process: what is started in which order, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import aiohttp
from aiohttp import web
from asyncdiff_api.job import API_VERSION

from asyncdiff_operator import plan as planning
from asyncdiff_operator.apply import Applier
from asyncdiff_operator.cache import Cache, JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.clock import ServerClock
from asyncdiff_operator.credentials import Credentials, read_credentials
from asyncdiff_operator.elector import Elector, LeaseTimes
from asyncdiff_operator.errors import ApiError, LeadershipLostError, NotFoundError, RefusedError, StartError
from asyncdiff_operator.events import EventRecorder
from asyncdiff_operator.health import pages
from asyncdiff_operator.metrics import JobMetrics, Metrics
from asyncdiff_operator.observe import Observer
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.options import Options, identity_of, lease_namespace_of
from asyncdiff_operator.polling import Ask, Poller, by_address, by_proxy
from asyncdiff_operator.queue import WorkQueue
from asyncdiff_operator.reconciler import Parts, Reconciler
from asyncdiff_operator.resources import Resource
from asyncdiff_operator.resync import Resync
from asyncdiff_operator.specs import Specs
from asyncdiff_operator.status_writer import StatusWriter
from asyncdiff_operator.watching import Watcher
from asyncdiff_operator.workers import Workers

logger = logging.getLogger(__name__)

USER_AGENT: Final = "asyncdiff-operator"
HUNG_SECONDS: Final = 300.0
"""Everything that a look at a job does has a time-out; one that lasts so long hangs."""
REPORT_SECONDS: Final = 1.0
"""Reports of a job's pods that come within this time are looked at together."""
START_RETRY_SECONDS: Final = 2.0
NEW_OBJECTS: Final = 10_000
"""After which Python searches them for cycles. Of itself it does after 700, and through all of a cache that grows."""
HEAD_START_SECONDS: Final = 10.0
"""By which a job that has nothing yet goes before those of which there is only something to tell."""


class Operator:
    """One replica: it keeps its cache warm from the start, and works while it leads."""

    def __init__(
        self,
        options: Options,
        credentials: Credentials,
        session: aiohttp.ClientSession,
        pod_session: aiohttp.ClientSession,
    ) -> None:
        """Puts the parts together; nothing is asked of anybody before `run`.

        Args:
            options: What the process was started with.
            credentials: For the watches, which have a session of their own.
            session: For the API server.
            pod_session: For pods, without credentials.
        """
        self._options = options
        self._metrics = Metrics()
        self._clock = ServerClock()
        self._cache = Cache()
        self._queue: WorkQueue[JobKey] = WorkQueue()
        self._idle = asyncio.Event()
        self._leadership: asyncio.Task[None] | None = None
        self._client = self._new_client(session, credentials.server, options.request_seconds)
        times = LeaseTimes.lasting(options.lease_seconds)
        identity = identity_of(options)
        self._elector = Elector(
            self._new_client(
                session, credentials.server, min(options.request_seconds, times.renew_seconds / 2)
            ),
            namespace=lease_namespace_of(options),
            name=options.lease_name,
            identity=identity,
            times=times,
        )
        self._poller = Poller(
            self._ask(pod_session),
            period_seconds=options.progress_seconds,
            now=self._clock.now,
            on_report=partial(self._want, after_seconds=REPORT_SECONDS),
        )
        self._workers = Workers(
            self._queue, self._new_reconciler(identity), self._metrics, count=options.workers
        )
        self._resync = Resync(
            self._client,
            self._cache,
            namespaces=options.namespaces,
            interval_seconds=options.resync_seconds,
            on_change=self._want,
        )
        self._watcher = Watcher(
            credentials,
            namespaces=options.namespaces,
            on_event=self._take_event,
            on_list=self._resync.want,
            user_agent=f"{USER_AGENT}/watch",
        )
        self._publish_metrics()

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, then hands over.

        Raises:
            StartError: The cluster lacks something without which the operator cannot work.
            ExceptionGroup: A part ended; of LeadershipLostError if another replica may write now.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with self._serving_pages():
            work = asyncio.create_task(self._work())
            told_to_stop = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({work, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    await work
                await self._finish_looks()
            finally:
                told_to_stop.cancel()
                await self._hand_over()
                work.cancel()
                await asyncio.wait({work, told_to_stop})

    async def _work(self) -> None:
        await self._start()
        _search_less_for_cycles()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watcher.run())
            group.create_task(self._resync.run())
            self._leadership = group.create_task(self._lead())

    async def _hand_over(self) -> None:
        """Gives the Lease back before the watches end, which takes seconds where one is just being begun."""
        if self._leadership is not None:
            self._leadership.cancel()
            await asyncio.wait({self._leadership})
        await self._elector.release()

    async def _start(self) -> None:
        """Fills the cache; waits for an API server that does not answer."""
        while True:
            try:
                await self._client.discover(f"/apis/{API_VERSION}")
                await self._resync.once()
            except NotFoundError as error:
                raise StartError(
                    f"the cluster does not know AsyncDiffJob ({API_VERSION}): apply manifests/crd, or set crds.enabled "
                    "in the Helm chart"
                ) from error
            except RefusedError as error:
                raise StartError(
                    f"the operator may not do its work: {error.said}. Grant its service account what manifests/ and "
                    "the Helm chart list, or name the namespaces that it may serve: --namespaces"
                ) from error
            except ApiError as error:
                logger.warning("the API server does not answer: %s", error)
                await asyncio.sleep(START_RETRY_SECONDS)
            else:
                logger.info("the cache is filled with %d jobs", len(self._cache.jobs()))
                return

    async def _lead(self) -> None:
        await self._elector.acquire()
        logger.info("this replica leads")
        for key in self._cache.jobs():
            self._want(key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._elector.keep())
            group.create_task(self._poller.run())
            group.create_task(self._look_at_jobs())

    async def _look_at_jobs(self) -> None:
        try:
            await self._workers.run()
        finally:
            self._idle.set()

    async def _finish_looks(self) -> None:
        """Lets what is under way end, while the Lease is still being renewed."""
        logger.info("stopping: %d looks under way", self._workers.busy())
        self._queue.close()
        if not self._elector.leading:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), self._options.drain_seconds)
        except TimeoutError:
            logger.warning("looks that did not end in time are given up; the next leader takes them up")

    def _take_event(self, resource: Resource, kind: str | None, manifest: Manifest) -> None:
        change = self._cache.remove if kind == "DELETED" else self._cache.put
        for key in change(resource, manifest):
            self._want(key)

    def _want(self, key: JobKey, after_seconds: float = 0.0) -> None:
        if self._elector.leading:  # a new leader looks at every job anyway
            self._queue.add(key, after_seconds, HEAD_START_SECONDS if self._cache.is_new(key) else 0.0)

    def _new_client(self, session: aiohttp.ClientSession, server: str, timeout_seconds: float) -> ApiClient:
        return ApiClient(
            session,
            server,
            timeout_seconds=timeout_seconds,
            on_call=self._metrics.count_call,
            on_date=self._clock.hear,
        )

    def _new_reconciler(self, identity: str) -> Reconciler:
        client, specs = self._client.guarded(self._elector), Specs()
        return Reconciler(
            Parts(
                client=client,
                cache=self._cache,
                observer=Observer(client, self._cache, self._poller),
                applier=Applier(client, self._cache),
                status_writer=StatusWriter(
                    client, self._cache, interval_seconds=self._options.status_seconds
                ),
                recorder=EventRecorder(client, instance=identity, now=self._clock.now),
                poller=self._poller,
                make_plan=lambda observed, now: planning.plan(
                    observed, self._options.defaults(), now, specs.read
                ),
                now=self._clock.now,
            )
        )

    def _ask(self, pod_session: aiohttp.ClientSession) -> Ask | None:
        if self._options.progress == "off":
            return None
        return by_proxy(self._client) if self._options.progress == "proxy" else by_address(pod_session)

    def _publish_metrics(self) -> None:
        self._metrics.queue_depth.set_function(self._queue.depth)
        self._metrics.queue_oldest_seconds.set_function(self._queue.oldest_seconds)
        self._metrics.leader.set_function(lambda: float(self._elector.leading))
        self._metrics.registry.register(JobMetrics(self._jobs_to_count))

    def _jobs_to_count(self) -> Iterable[Manifest]:
        # Every replica knows the jobs. If each counted them, sums over replicas would count them twice.
        return self._cache.jobs().values() if self._elector.leading else ()

    @asynccontextmanager
    async def _serving_pages(self) -> AsyncIterator[None]:
        application = pages(
            liveness={"looks": self._check_looks, "watches": self._check_watches},
            readiness={"cache": self._check_cache},
            registry=self._metrics.registry,
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._options.address, self._options.port)
            await site.start()
            logger.info("pages are served at %s", " and ".join(str(address) for address in runner.addresses))
            yield
        finally:
            await runner.cleanup()

    def _check_looks(self) -> str | None:
        seconds = self._workers.longest_seconds()
        return None if seconds < HUNG_SECONDS else f"a look at a job has lasted {seconds:.0f} s"

    def _check_watches(self) -> str | None:
        return None if self._watcher.healthy else "no watch was asked for of late"

    def _check_cache(self) -> str | None:
        return None if self._resync.synced else "the API server has not yet been listed"


def _search_less_for_cycles() -> None:
    """Leaves what is there at the start out of the search, which holds up every look for as long as it takes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


async def run(options: Options) -> int:
    """Runs the operator and gives the process's exit code; what went wrong is in the log."""
    try:
        credentials = read_credentials(options.kubeconfig)
        pods = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )
        async with credentials.session(user_agent=USER_AGENT) as session, pods:
            return await _run_to_the_end(Operator(options, credentials, session, pods))
    except StartError as error:
        logger.error("%s", error)  # noqa: TRY400 -- a sentence for a person, not a defect
        return 1
    except OSError as error:
        logger.error("%s: is port %d in use?", error, options.port)  # noqa: TRY400 -- as above
        return 1


async def _run_to_the_end(operator: Operator) -> int:
    try:
        await operator.run()
    except* LeadershipLostError as group:
        logger.error("%s: this process ends", _innermost(group))  # noqa: TRY400 -- as above
        exit_code = 1
    else:
        logger.info("stopped")
        exit_code = 0
    return exit_code


def _innermost(error: BaseException) -> BaseException:
    """Gives an error without the groups that tasks put around it."""
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
