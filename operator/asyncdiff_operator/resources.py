"""The kinds that the operator reads and writes, and their addresses in the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncdiff_api.job import API_VERSION, KIND, PLURAL

from asyncdiff_operator.observed import Manifest


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced kind."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def root(self) -> str:
        """Where the kinds of this apiVersion are served."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def collection(self, namespace: str | None) -> str:
        """The address of all objects of the kind, in one namespace or, for None, in all."""
        scope = f"/namespaces/{namespace}" if namespace is not None else ""
        return f"{self.root}{scope}/{self.plural}"

    def address(self, namespace: str, name: str, subresource: str = "") -> str:
        """The address of one object, or of a part of it."""
        return "/".join(filter(None, (self.collection(namespace), name, subresource)))


ASYNCDIFFJOBS: Final = Resource(API_VERSION, KIND, PLURAL)
JOBS: Final = Resource("batch/v1", "Job", "jobs")
CONFIGMAPS: Final = Resource("v1", "ConfigMap", "configmaps")
PODS: Final = Resource("v1", "Pod", "pods")
EVENTS: Final = Resource("v1", "Event", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")

CHILDREN: Final = (CONFIGMAPS, JOBS, PODS)
"""Kinds that a job's children have."""
WATCHED: Final = (ASYNCDIFFJOBS, *CHILDREN)
"""Kinds that the cache holds."""

_BY_KIND: Final = {(resource.api_version, resource.kind): resource for resource in (*WATCHED, EVENTS, LEASES)}


def resource_of(manifest: Manifest) -> Resource:
    """Gives the resource of an object by its apiVersion and kind.

    Raises:
        LookupError: It is of a kind that the operator has no business with.
    """
    key = (manifest["apiVersion"], manifest["kind"])
    if key not in _BY_KIND:
        raise LookupError(f"the operator does not handle objects of kind {key[1]} in {key[0]}")
    return _BY_KIND[key]


def describe(manifest: Manifest) -> str:
    """Names an object in a sentence, such as "Job team-a/posters-1234abcd"."""
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
