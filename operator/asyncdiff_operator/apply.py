"""Carries out what `plan` wants: each operation once, fenced, and its result into the cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from asyncdiff_operator.cache import Cache, job_uid_of
from asyncdiff_operator.children.failure_policy import DISRUPTION
from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.errors import AlreadyExistsError, ConflictError, NotFoundError, OperatorError
from asyncdiff_operator.intent import Create, Delete, Operation, Patch
from asyncdiff_operator.logs import JobLogger
from asyncdiff_operator.names import GIVEN_UP, is_marked
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.resources import Resource, describe, resource_of


class NameTakenError(OperatorError):
    """An object of somebody else, or one that somebody has taken the job's marks off, has the name of a child.

    Attributes:
        stranger: that object.
    """

    def __init__(self, stranger: Manifest) -> None:
        super().__init__(f"{describe(stranger)} exists and is not marked as the job's")
        self.stranger = stranger


class ChangedMeanwhileError(OperatorError):
    """An object was not as observed; the cache has it as it is now, and the plan is to be made again."""


class Applier:
    """Applies operations through one client, which is guarded by the Lease."""

    def __init__(self, client: ApiClient, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def apply(self, operations: Iterable[Operation], log: JobLogger) -> None:
        """Carries out operations in their order; the first that fails leaves the rest for another plan.

        Args:
            operations: What a plan wants for one job.
            log: Names that job.

        Raises:
            NameTakenError: An object to be created has the name of a stranger.
            ChangedMeanwhileError: An object is no longer as it was observed.
            ApiError: The API server refused or did not answer.
        """
        for operation in operations:
            await self._apply(operation, log)

    async def _apply(self, operation: Operation, log: JobLogger) -> None:
        match operation:
            case Create(manifest=manifest):
                await self._create(manifest)
                log.info("%s is there", describe(manifest))
            case Patch(target=target, changes=changes):
                await self._patch(target, changes)
                log.info("%s was patched: %s", describe(target), ", ".join(sorted(changes)))
            case Delete(target=target, force=force):
                await self._delete(target, force=force)
                log.info("%s was deleted", describe(target), extra=shard_of(target))
            case _:
                assert_never(operation)

    async def _create(self, manifest: Manifest) -> None:
        resource = resource_of(manifest)
        try:
            stored: Manifest = await self._client.create(manifest)
        except AlreadyExistsError:
            stored = await self._read(resource, manifest)
            if not is_marked(stored, job_uid_of(manifest)):
                raise NameTakenError(stored) from None
        self._cache.put(resource, stored)

    async def _patch(self, target: Manifest, changes: Manifest) -> None:
        resource, metadata = resource_of(target), target["metadata"]
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        fenced = {**changes, "metadata": {**changes.get("metadata", {}), **precondition}}
        try:
            stored = await self._client.merge(target, fenced)
        except (ConflictError, NotFoundError) as error:
            await self._look_again(resource, target)
            raise ChangedMeanwhileError(f"{describe(target)} was changed meanwhile: {error}") from error
        self._cache.put(resource, stored)

    async def _delete(self, target: Manifest, *, force: bool) -> None:
        resource = resource_of(target)
        try:
            target = await self._give_up(target) if force else target
            metadata = target["metadata"]
            preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            options: dict[str, object] = {"preconditions": preconditions, "propagationPolicy": "Background"}
            if force:
                options["gracePeriodSeconds"] = 0
            left = await self._client.delete(target, options)
        except NotFoundError:
            self._cache.remove(resource, target)
            return
        except ConflictError as error:
            await self._look_again(resource, target)
            raise ChangedMeanwhileError(f"{describe(target)} was changed meanwhile: {error}") from error
        if left.get("kind") == resource.kind:  # it stays for its grace period or its finalizers
            self._cache.put(resource, left)
        else:
            self._cache.remove(resource, target)

    async def _give_up(self, pod: Manifest) -> Manifest:
        """Marks a pod as failed by a disruption, as Kubernetes does with the pods of a node that is gone.

        Its Job holds it by a finalizer for as long as it may be running, by force or not, and charges a retry
        for any failure but a disruption.
        """
        if ChildPod(pod).given_up:
            return pod  # its removal was refused the time before
        metadata, status = pod["metadata"], pod.get("status") or {}
        disruption = {
            "type": DISRUPTION,
            "status": "True",
            "reason": GIVEN_UP,
            "message": "It did not go when it was asked to; run.forceDeleteAfterSeconds is over",
        }
        others = [each for each in status.get("conditions") or () if each["type"] != disruption["type"]]
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        changes = {
            "metadata": precondition,
            "status": {"phase": "Failed", "conditions": [*others, disruption]},
        }
        return await self._client.merge(pod, changes, subresource="status")

    async def _read(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Reads the object that has the name already.

        Raises:
            ChangedMeanwhileError: It has just gone again.
        """
        metadata = manifest["metadata"]
        try:
            return await self._client.get(resource, metadata["namespace"], metadata["name"])
        except NotFoundError as error:
            raise ChangedMeanwhileError(f"{describe(manifest)} was there and has gone") from error

    async def _look_again(self, resource: Resource, target: Manifest) -> None:
        metadata = target["metadata"]
        try:
            found = await self._client.get(resource, metadata["namespace"], metadata["name"])
        except NotFoundError:
            self._cache.remove(resource, target)
            return
        if found["metadata"]["uid"] != metadata["uid"]:
            self._cache.remove(resource, target)
        self._cache.put(resource, found)


def shard_of(manifest: Manifest) -> dict[str, int]:
    """Gives what a record says of a pod that works on a shard."""
    shard = ChildPod(manifest).shard
    return {} if shard is None else {"shard": shard}
