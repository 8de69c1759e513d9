"""What the API server last said of jobs and their children, fed by watches, lists and our own writes.

These arrive in any order, twice, or not at all. Of two versions of an object the one with the greater
resourceVersion counts (they are comparable integers: KEP-5504); an object that is gone comes back only in a
version that is newer than its end, which one does whose label was taken off and put on again; and a list drops
what it does not have, unless that is newer than the list.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Any, Final, NamedTuple

from asyncdiff_operator.client import Listing
from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import ASYNCDIFFJOBS, CHILDREN, JOBS, PODS, WATCHED, Resource

MAX_TOMBSTONES: Final = 20_000
"""Objects whose end is remembered; the oldest are forgotten."""


class JobKey(NamedTuple):
    """Names an AsyncDiffJob."""

    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> JobKey:
        """Gives the name of any object, with its namespace."""
        return cls(manifest["metadata"]["namespace"], manifest["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cache:
    """The objects by kind and name.

    Methods that change it give the keys of the jobs concerned: none where an object says what it said before.
    """

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[JobKey, Manifest]] = {resource: {} for resource in WATCHED}
        self._by_job: dict[Resource, dict[str, set[JobKey]]] = {r: defaultdict(set) for r in CHILDREN}
        self._job_keys: dict[str, JobKey] = {}
        self._gone_at: dict[str, int] = {}

    def put(self, resource: Resource, manifest: Manifest) -> set[JobKey]:
        """Takes an object as it was seen, unless something newer is known."""
        metadata = manifest["metadata"]
        if version_of(manifest) <= self._gone_at.get(metadata["uid"], -1):
            return set()
        known = self._objects[resource].get(JobKey.of(manifest))
        if known is not None and version_of(known) >= version_of(manifest):
            return set()
        if known is not None:
            self._drop(resource, known)
            if known["metadata"]["uid"] != metadata["uid"]:
                self._bury(known, version_of(manifest))
        trimmed = _trimmed(resource, manifest)
        self._insert(resource, trimmed)
        if known is not None and _without_version(known) == _without_version(trimmed):
            return set()
        return self._jobs_concerned(resource, manifest)

    def remove(self, resource: Resource, manifest: Manifest, at: int | None = None) -> set[JobKey]:
        """Takes note that this very object is gone; another one of its name stays.

        Args:
            resource: Its kind.
            manifest: The object as it was seen last.
            at: The resourceVersion up to which nothing of it counts any more; None for its own.
        """
        known = self._objects[resource].get(JobKey.of(manifest))
        self._bury(manifest, version_of(manifest) if at is None else at)
        if known is None or known["metadata"]["uid"] != manifest["metadata"]["uid"]:
            return set()
        concerned = self._jobs_concerned(resource, known)
        self._drop(resource, known)
        return concerned

    def adopt(
        self,
        resource: Resource,
        listing: Listing,
        *,
        namespace: str | None = None,
        job_uid: str | None = None,
    ) -> set[JobKey]:
        """Takes a list: what it has, and what it lacks.

        Args:
            resource: the kind that was listed.
            listing: its objects at one moment.
            namespace: the namespace that was listed; None for all.
            job_uid: the job whose children were listed; None for all.
        """
        listed = {item["metadata"]["uid"] for item in listing.items}
        moment = int(listing.resource_version)
        concerned = self.remove_all_but(listed, resource, moment, namespace=namespace, job_uid=job_uid)
        for item in listing.items:
            concerned |= self.put(resource, item)
        return concerned

    def remove_all_but(
        self,
        listed: Set[str],
        resource: Resource,
        moment: int,
        *,
        namespace: str | None = None,
        job_uid: str | None = None,
    ) -> set[JobKey]:
        """Takes note of what a list lacks.

        Args:
            listed: The uids that it has.
            resource: The kind that was listed.
            moment: The resourceVersion at which it was listed; what is newer stays.
            namespace: The namespace that was listed; None for all.
            job_uid: The job whose children were listed; None for all.
        """
        ghosts = [
            known
            for known in self._in_scope(resource, namespace, job_uid)
            if known["metadata"]["uid"] not in listed and version_of(known) <= moment
        ]
        concerned: set[JobKey] = set()
        for ghost in ghosts:
            concerned |= self.remove(resource, ghost, moment)
        return concerned

    def job(self, key: JobKey) -> Manifest | None:
        """The AsyncDiffJob of that name."""
        return self._objects[ASYNCDIFFJOBS].get(key)

    def is_new(self, key: JobKey) -> bool:
        """Whether a job has neither a status nor the Job of its shards."""
        job = self.job(key)
        return (
            job is not None and not job.get("status") and not self._by_job[JOBS].get(job["metadata"]["uid"])
        )

    def jobs(self) -> Mapping[JobKey, Manifest]:
        """All AsyncDiffJobs by name; a live view."""
        return self._objects[ASYNCDIFFJOBS]

    def children(self, resource: Resource, job_uid: str) -> tuple[Manifest, ...]:
        """Objects of a kind that carry the job's uid, in order of their names.

        Those of another namespace than the job's are not among them: an owner is never elsewhere, and whoever may
        write there may have no say in this job.
        """
        names = self._by_job[resource].get(job_uid, ())
        job = self._job_keys.get(job_uid)
        return tuple(
            self._objects[resource][name]
            for name in sorted(names)
            if job is None or name.namespace == job.namespace
        )

    def count(self, resource: Resource) -> int:
        """How many objects of a kind are held."""
        return len(self._objects[resource])

    def _in_scope(self, resource: Resource, namespace: str | None, job_uid: str | None) -> Iterable[Manifest]:
        if job_uid is not None:
            return self.children(resource, job_uid)
        return (
            known
            for name, known in self._objects[resource].items()
            if namespace is None or name.namespace == namespace
        )

    def _insert(self, resource: Resource, manifest: Manifest) -> None:
        name = JobKey.of(manifest)
        self._objects[resource][name] = manifest
        if resource == ASYNCDIFFJOBS:
            self._job_keys[manifest["metadata"]["uid"]] = name
        elif job_uid := job_uid_of(manifest):
            self._by_job[resource][job_uid].add(name)

    def _drop(self, resource: Resource, known: Manifest) -> None:
        name = JobKey.of(known)
        del self._objects[resource][name]
        if resource == ASYNCDIFFJOBS:
            del self._job_keys[known["metadata"]["uid"]]
        elif job_uid := job_uid_of(known):
            names = self._by_job[resource][job_uid]
            names.discard(name)
            if not names:
                del self._by_job[resource][job_uid]

    def _bury(self, manifest: Manifest, at: int) -> None:
        uid = manifest["metadata"]["uid"]
        self._gone_at[uid] = max(at, self._gone_at.pop(uid, -1))
        if len(self._gone_at) > MAX_TOMBSTONES:
            del self._gone_at[next(iter(self._gone_at))]

    def _jobs_concerned(self, resource: Resource, manifest: Manifest) -> set[JobKey]:
        if resource == ASYNCDIFFJOBS:
            return {JobKey.of(manifest)}
        key = self._job_keys.get(job_uid_of(manifest))
        return set() if key is None or key.namespace != manifest["metadata"]["namespace"] else {key}


def version_of(manifest: Manifest) -> int:
    """Gives an object's resourceVersion as the integer that it is."""
    return int(manifest["metadata"]["resourceVersion"])


def job_uid_of(manifest: Manifest) -> str:
    """Gives the uid of the AsyncDiffJob that an object says it belongs to; empty if it says nothing."""
    uid: str = manifest["metadata"].get("labels", {}).get(JOB_UID_LABEL, "")
    return uid


_NOBODY_ASKS: Final[Mapping[Resource, Mapping[str, frozenset[str]]]] = {
    PODS: {
        "metadata": frozenset({"managedFields", "finalizers", "generateName"}),
        "status": frozenset({"hostIP", "hostIPs", "podIPs", "qosClass"}),
    },
    JOBS: {
        "metadata": frozenset({"managedFields", "finalizers"}),
        "status": frozenset({"ready", "terminating", "uncountedTerminatedPods"}),
    },
}
"""Fields that the controllers of Kubernetes need for themselves, and that change without a meaning for a job."""


_OF_A_POD: Final = frozenset({"nodeName"})
"""What is asked of a pod's spec; the rest is in its Job's template."""
_OF_A_CONTAINER: Final = frozenset({"name", "state", "started", "imageID"})
"""What is asked of the status of a pod's container."""
MOST_SHARED_CHARACTERS: Final = 40
"""Longer texts are hardly ever the same in two objects."""


def _trimmed(resource: Resource, manifest: Manifest) -> Manifest:
    """Leaves out what nobody asks for: who wrote which field, and what a pod's template says anyway."""
    unread = _NOBODY_ASKS.get(resource, {"metadata": frozenset({"managedFields"})})
    trimmed = {
        part: {name: value for name, value in content.items() if name not in unread[part]}
        if part in unread
        else content
        for part, content in manifest.items()
    }
    if resource == PODS:
        trimmed["spec"] = _only(_OF_A_POD, manifest.get("spec") or {})
        if containers := trimmed.get("status", {}).get("containerStatuses"):
            trimmed["status"]["containerStatuses"] = [_only(_OF_A_CONTAINER, each) for each in containers]
    kept: Manifest = _shared(trimmed)
    return kept


def _only(names: Set[str], content: Manifest) -> Manifest:
    return {name: value for name, value in content.items() if name in names}


def _shared(value: Any) -> Any:
    """Gives the same with one copy of each name and each short text in memory, of which every object has its own."""
    match value:
        case dict():
            return {sys.intern(name): _shared(each) for name, each in value.items()}
        case list():
            return [_shared(each) for each in value]
        case str() if len(value) <= MOST_SHARED_CHARACTERS:
            return sys.intern(value)
    return value


def _without_version(manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": ""}}
