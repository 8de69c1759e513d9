"""One look at a job: observe, plan, apply, write the status, tell. Everything that is decided is decided by `plan`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from asyncdiff_operator.apply import Applier, NameTakenError
from asyncdiff_operator.cache import Cache, JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import NotFoundError, OperatorError, RefusedError
from asyncdiff_operator.events import EventRecorder
from asyncdiff_operator.intent import Operation, Plan
from asyncdiff_operator.logs import job_logger
from asyncdiff_operator.names import is_marked
from asyncdiff_operator.observe import JobGoneError, Observer
from asyncdiff_operator.observed import Manifest, Observed
from asyncdiff_operator.polling import Poller
from asyncdiff_operator.resources import PODS, resource_of
from asyncdiff_operator.status_writer import Outcome, StatusWriter

logger = logging.getLogger(__name__)

MAX_PLANS: Final = 8
"""Plans of one look: each may ask, and meet strangers and refusals. More would be a plan that asks for ever."""

SETTLED_SECONDS: Final = 60.0
"""For how long a plan that left nothing to do holds while nothing that it was made from changes."""
CARRIED_OUT_SECONDS: Final = 1.0
"""When the effect of what was done is looked at, if no event tells of it before."""

MakePlan = Callable[[Observed, datetime], Plan]


class EndlessPlanError(OperatorError):
    """The plans of one look did not come to an end."""


class NoEffectError(OperatorError):
    """What was just done is wanted again: it rests as after a failure, so that nothing is done in a tight loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settled:
    """A look that left nothing to do."""

    observed: Observed
    """What it was made from, with the status that it has written."""
    holds_until: float
    look_again_at: float | None

    def rest_seconds(self, now: float) -> float | None:
        """Gives the seconds after which to look again; None to wait for an event."""
        return None if self.look_again_at is None else max(0.0, self.look_again_at - now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a reconciler works with."""

    client: ApiClient
    """Guarded by the Lease."""
    cache: Cache
    observer: Observer
    applier: Applier
    status_writer: StatusWriter
    recorder: EventRecorder
    poller: Poller
    make_plan: MakePlan
    now: Callable[[], datetime]
    """The API server's clock."""
    clock: Callable[[], float] = time.monotonic


class Reconciler:
    """Looks at jobs; of two calls for one job the second comes after the first."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._strangers: dict[str, tuple[Manifest, ...]] = {}
        self._uids: dict[JobKey, str] = {}
        self._done: dict[str, tuple[Operation, ...]] = {}
        self._settled: dict[str, _Settled] = {}

    async def reconcile(self, key: JobKey) -> float | None:
        """Looks at one job.

        Returns:
            The seconds after which to look again; None to wait for an event.

        Raises:
            ChangedMeanwhileError: Something was not as observed; look again soon.
            NoEffectError: What was done has changed nothing; look again after a while.
            ApiError: The API server refused or did not answer; look again after a while.
            LeadershipLostError: Another replica may be writing.
        """
        job = self._parts.cache.job(key)
        self._forget_predecessor(key, job)
        if job is None:
            return None
        try:
            return await self._look(key, job)
        except JobGoneError:
            self._forget_predecessor(key, None)
            return None

    async def _look(self, key: JobKey, job: Manifest) -> float | None:
        uid = job["metadata"]["uid"]
        await self._look_at_strangers(uid)
        observed = self._parts.observer.observe(job, self._strangers.get(uid, ()))
        settled, now = self._settled.get(uid), self._parts.clock()
        if settled is not None and now < settled.holds_until and settled.observed == observed:
            return settled.rest_seconds(now)
        self._settled.pop(uid, None)
        plan, observed, refusal = await self._plan_and_apply(observed)
        told = await self._tell(observed.job, plan)
        self._parts.poller.follow(
            key, uid, plan.poll, (pod["metadata"]["uid"] for pod in self._parts.cache.children(PODS, uid))
        )
        if refusal is not None:
            raise refusal
        if plan.operations:
            self._note_operations(uid, plan.operations)
            return CARRIED_OUT_SECONDS
        self._done.pop(uid, None)
        return self._settle(
            uid, replace(observed, job=told.job), plan.look_again_after_seconds, told.rest_seconds
        )

    def _settle(self, job_uid: str, observed: Observed, *rests: float | None) -> float | None:
        """Notes that nothing is left to do; gives the seconds after which to look again."""
        now = self._parts.clock()
        again = min((seconds for seconds in rests if seconds is not None), default=None)
        self._settled[job_uid] = _Settled(
            observed=observed,
            holds_until=now + min(SETTLED_SECONDS, SETTLED_SECONDS if again is None else again),
            look_again_at=None if again is None else now + again,
        )
        return again

    async def _plan_and_apply(self, observed: Observed) -> tuple[Plan, Observed, RefusedError | None]:
        """Plans until a plan is carried out; a refusal becomes part of what is observed, for a plan to tell."""
        refusal: RefusedError | None = None
        for _ in range(MAX_PLANS):
            plan = self._parts.make_plan(observed, self._parts.now())
            if plan.questions:
                observed = await self._parts.observer.answer(observed, plan.questions)
                continue
            try:
                await self._parts.applier.apply(plan.operations, job_logger(logger, observed.job))
            except NameTakenError as error:
                observed = self._meet(observed, error.stranger)
            except RefusedError as error:
                if refusal is not None:
                    raise
                refusal = error
                observed = replace(observed, refusal=error.said)
            else:
                return plan, observed, refusal
        raise EndlessPlanError(
            f"{MAX_PLANS} plans for {JobKey.of(observed.job)} asked or were refused one after the other; the last "
            f"answers were to {sorted(observed.answers)}: please report this as a bug"
        )

    async def _tell(self, job: Manifest, plan: Plan) -> Outcome:
        """Writes status and events; where the status waits for its turn, what is told of it waits too."""
        log = job_logger(logger, job)
        outcome = Outcome(job)
        if plan.status is not None:
            outcome = await self._parts.status_writer.write(job, plan.status, urgent=plan.urgent)
        if outcome.rest_seconds is not None:
            return outcome
        for event in await self._parts.recorder.record(job, plan.events):
            log.info("%s: %s", event.reason.value, event.message)
        return outcome

    def _note_operations(self, job_uid: str, operations: tuple[Operation, ...]) -> None:
        before, self._done[job_uid] = self._done.get(job_uid), operations
        if before == operations:
            raise NoEffectError(f"the same {len(operations)} operations are wanted as a moment ago")

    def _meet(self, observed: Observed, stranger: Manifest) -> Observed:
        uid = observed.job["metadata"]["uid"]
        self._strangers[uid] = (*self._strangers.get(uid, ()), stranger)
        return replace(observed, strangers=(*observed.strangers, stranger))

    async def _look_at_strangers(self, job_uid: str) -> None:
        """Reads the strangers that a job met before: they may be gone."""
        still: list[Manifest] = []
        for stranger in self._strangers.get(job_uid, ()):
            metadata = stranger["metadata"]
            resource = resource_of(stranger)
            try:
                found = await self._parts.client.get(resource, metadata["namespace"], metadata["name"])
            except NotFoundError:
                continue
            if found["metadata"]["uid"] == metadata["uid"] and not is_marked(found, job_uid):
                still.append(found)
        self._strangers[job_uid] = tuple(still)
        if not still:
            del self._strangers[job_uid]

    def _forget_predecessor(self, key: JobKey, job: Manifest | None) -> None:
        """Drops what is known of a job that is gone, also where another has its name already."""
        before = self._uids.pop(key, None)
        if job is not None:
            self._uids[key] = job["metadata"]["uid"]
        if before is None or before == self._uids.get(key):
            return
        self._strangers.pop(before, None)
        self._done.pop(before, None)
        self._settled.pop(before, None)
        self._parts.poller.forget(before)
        self._parts.status_writer.forget(before)
        self._parts.recorder.forget(before)
