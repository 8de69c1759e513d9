"""Jobs as tests of the operator submit and await them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from support.cluster import reference
from support.jobs import job
from support.processes import wait_until

if TYPE_CHECKING:
    from support.cluster import Api, AuditEvent, Cluster

Document = dict[str, Any]
Manifest = Mapping[str, Any]
SMALL: Mapping[str, Any] = {
    "spec.generate.seeds": {"count": 4},
    "spec.parallelism": {"shards": 2, "gpusPerPod": 1, "pods": 2},
}
"""Four items in two shards of one GPU each."""


def submit(
    api: Api, namespace: str, changes: Mapping[str, Any] | None = None, name: str = "posters"
) -> Document:
    """Creates a small job."""
    document = job({**SMALL, **(changes or {})})
    return api.create(
        {**document, "metadata": {**document["metadata"], "name": name, "namespace": namespace}}
    )


def status(api: Api, submitted: Document) -> Document:
    """A job's status as it is now; empty if it has none, or is gone."""
    return (api.find(submitted) or {}).get("status") or {}


def await_phase(api: Api, submitted: Document, *phases: str, seconds: float = 60) -> Document:
    """Waits until a job is in one of the phases and gives its status."""

    def look() -> Document | None:
        found = status(api, submitted)
        return found if found.get("phase") in phases else None

    return wait_until(
        look, what=f"{submitted['metadata']['name']} to be {' or '.join(phases)}", seconds=seconds
    )


def condition(found: Document, kind: str) -> Document:
    """A condition of a status; empty if it is not there."""
    return next((each for each in found.get("conditions", ()) if each["type"] == kind), {})


def children(api: Api, namespace: str) -> dict[str, list[str]]:
    """The names of all ConfigMaps, Jobs and pods of a namespace, Kubernetes' own ConfigMap aside."""
    kinds = {"ConfigMap": "v1", "Job": "batch/v1", "Pod": "v1"}
    return {
        kind: sorted(
            found["metadata"]["name"]
            for found in api.items(reference(version, kind, namespace=namespace))
            if found["metadata"]["name"] != "kube-root-ca.crt"
        )
        for kind, version in kinds.items()
    }


def writes_of(cluster: Cluster, user: str, since: int = 0) -> list[AuditEvent]:
    """What an operator has written, its Lease aside."""
    return [
        event for event in cluster.audit.writes(since) if event.user == user and event.resource != "leases"
    ]


def is_removed(api: Api, pod: Manifest) -> bool:
    """Whether a pod is gone, or is there for its Job's finalizer alone, which may take ten seconds."""
    found = api.find(pod)
    return found is None or found["metadata"].get("deletionGracePeriodSeconds") == 0


def only_on(*nodes: str) -> Document:
    """Changes that keep a job's pods to some nodes, which need not be there yet."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [here]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec.pod": {"affinity": affinity}}


def child_name(submitted: Document) -> str:
    """The name of a job's ConfigMap and of the Job of its shards."""
    return f"{submitted['metadata']['name']}-{submitted['metadata']['uid'][:8]}"
