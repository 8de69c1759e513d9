"""Puts together what is known of a job, from the cache, and answers what the cache cannot tell for sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from asyncdiff_operator.cache import Cache, JobKey
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import NotFoundError, OperatorError
from asyncdiff_operator.names import JOB_UID_LABEL, finish_name, is_marked, shards_name
from asyncdiff_operator.observed import Manifest, Observed, Question, Report
from asyncdiff_operator.resources import ASYNCDIFFJOBS, CHILDREN, CONFIGMAPS, JOBS, PODS
from asyncdiff_operator.warnings import Warnings


class JobGoneError(OperatorError):
    """The job has been deleted, or another of its name is there."""


class Reports(Protocol):
    """What pods said of themselves."""

    def reports(self, job_uid: str) -> Mapping[str, Report]:
        """The last report of each pod of a job, by the pod's uid."""
        ...

    def reachable(self, job_uid: str) -> bool | None:
        """Whether any of its pods answered lately; None if they are not asked."""
        ...


class Observer:
    """Observes jobs, one at a time."""

    def __init__(self, client: ApiClient, cache: Cache, reports: Reports) -> None:
        self._client = client
        self._cache = cache
        self._reports = reports
        self._warnings = Warnings(client)

    def observe(self, job: Manifest, strangers: tuple[Manifest, ...] = ()) -> Observed:
        """Gives what the cache knows of a job; `strangers` are those that a creation ran into."""
        uid = job["metadata"]["uid"]
        config, shards, finish = shards_name(job), shards_name(job), finish_name(job)
        configs = _by_name(self._cache.children(CONFIGMAPS, uid))
        jobs = _by_name(self._cache.children(JOBS, uid))
        named = [
            child for child in (configs.get(config), jobs.get(shards), jobs.get(finish)) if child is not None
        ]
        foreign = [child for child in named if not is_marked(child, uid)]
        return Observed(
            job=job,
            config=_own(configs.get(config), uid),
            shards_job=_own(jobs.get(shards), uid),
            finish_job=_own(jobs.get(finish), uid),
            pods=tuple(pod for pod in self._cache.children(PODS, uid) if _is_pod_of(pod, {shards, finish})),
            strangers=(*foreign, *strangers),
            reports=self._reports.reports(uid),
            reachable=self._reports.reachable(uid),
        )

    async def answer(self, observed: Observed, questions: frozenset[Question]) -> Observed:
        """Gives the same observation with answers, and with what was found on the way.

        Raises:
            JobGoneError: The job is not there any more.
            ApiError: The API server refused or did not answer.
        """
        answers: dict[Question, Any] = dict(observed.answers)
        if Question.CHILDREN in questions:
            observed = await self._afresh(observed)
            answers[Question.CHILDREN] = True
        if Question.POD_EVENTS in questions:
            answers[Question.POD_EVENTS] = await self._events(observed)
        if Question.WORKLIST in questions:
            answers[Question.WORKLIST] = await self._worklist(observed.job)
        if Question.STATUS in questions:
            answers[Question.STATUS] = await self._stored(observed.job)
        return replace(observed, answers=answers)

    async def _afresh(self, observed: Observed) -> Observed:
        """Reads the job and lists its children anew."""
        metadata = observed.job["metadata"]
        job = await self._stored(observed.job)
        if job is None:
            self._cache.remove(ASYNCDIFFJOBS, observed.job)
            raise JobGoneError(f"{JobKey.of(observed.job)} is gone")
        for resource in CHILDREN:
            listing = await self._client.list(
                resource, metadata["namespace"], labels=f"{JOB_UID_LABEL}={metadata['uid']}"
            )
            self._cache.adopt(resource, listing, namespace=metadata["namespace"], job_uid=metadata["uid"])
        found = self.observe(job, observed.strangers)
        return found if found.shards_job is not None else await self._unlabelled(found)

    async def _unlabelled(self, observed: Observed) -> Observed:
        """Looks by its name for a Job of the shards that no list by label has."""
        try:
            job = await self._client.get(
                JOBS, observed.job["metadata"]["namespace"], shards_name(observed.job)
            )
        except NotFoundError:
            return observed
        if is_marked(job, observed.job["metadata"]["uid"]):
            return replace(observed, shards_job=job)  # its label has just been put back
        return replace(observed, strangers=(*observed.strangers, job))

    async def _stored(self, job: Manifest) -> Manifest | None:
        """Gives the job as it is stored now; None if it is gone."""
        metadata = job["metadata"]
        try:
            found = await self._client.get(ASYNCDIFFJOBS, metadata["namespace"], metadata["name"])
        except NotFoundError:
            return None
        self._cache.put(ASYNCDIFFJOBS, found)
        return found if found["metadata"]["uid"] == metadata["uid"] else None

    async def _events(self, observed: Observed) -> Mapping[str, tuple[str, ...]]:
        """Gives the newest warning about each of the Jobs and of the pods that wait."""
        waiting = [pod for pod in observed.pods if pod.get("status", {}).get("phase") == "Pending"]
        jobs = [job for job in (observed.shards_job, observed.finish_job) if job is not None]
        warned = await self._warnings.of(observed.job["metadata"]["namespace"])
        uids = [target["metadata"]["uid"] for target in (*jobs, *waiting)]
        return {uid: (warned[uid],) for uid in uids if uid in warned}

    async def _worklist(self, job: Manifest) -> str | None:
        """Gives a sentence on what is missing of the worklist's ConfigMap; None if nothing is."""
        wanted = job["spec"]["generate"]["worklist"]["configMap"]
        namespace, name, key = job["metadata"]["namespace"], wanted["name"], wanted["key"]
        try:
            found = await self._client.get(CONFIGMAPS, namespace, name)
        except NotFoundError:
            return f"the ConfigMap {name} of the worklist does not exist in namespace {namespace}"
        keys = sorted({*(found.get("data") or {}), *(found.get("binaryData") or {})})
        if key in keys:
            return None
        return f"the ConfigMap {name} has no key {key}; it has {', '.join(keys) or 'none'}"


def _by_name(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests}


def _own(child: Manifest | None, job_uid: str) -> Manifest | None:
    return child if child is not None and is_marked(child, job_uid) else None


def _is_pod_of(pod: Manifest, names: set[str]) -> bool:
    """Whether a Job of one of these names made the pod; the Job itself may be gone already."""
    owners = pod["metadata"].get("ownerReferences", ())
    return any(owner["kind"] == JOBS.kind and owner["name"] in names for owner in owners)
