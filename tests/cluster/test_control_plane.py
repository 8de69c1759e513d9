"""With the controllers and the scheduler a cluster does everything but run containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.cluster import reference
from support.processes import wait_until

if TYPE_CHECKING:
    from support.cluster import Cluster


def job(namespace: str) -> dict[str, Any]:
    container = {"name": "main", "image": "localhost/none"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": template}
    return {**reference("batch/v1", "Job", "work", namespace), "spec": spec}


def test_a_job_makes_pods(control_plane: Cluster) -> None:
    namespace = control_plane.namespace()
    api = control_plane.api
    api.create(job(namespace))
    kind = reference("v1", "Pod", namespace=namespace)

    pods = wait_until(lambda: found if len(found := api.items(kind)) == 2 else None, what="two pods")

    labels = [pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] for pod in pods]
    assert sorted(labels) == ["0", "1"]


def test_a_pod_is_bound_to_a_node_that_has_room(control_plane: Cluster) -> None:
    namespace = control_plane.namespace()
    api = control_plane.api
    node = reference("v1", "Node", namespace)
    # no other test's pods may come here: without a kubelet they could not be deleted
    api.create({**node, "spec": {"taints": [{"key": "reserved", "effect": "NoSchedule"}]}})
    room = {"cpu": "4", "memory": "8Gi", "pods": "9"}
    conditions = [{"type": "Ready", "status": "True"}]
    api.patch(
        node,
        {"status": {"capacity": room, "allocatable": room, "conditions": conditions}},
        subresource="status",
    )
    container = {"name": "main", "image": "localhost/none"}
    spec = {"containers": [container], "tolerations": [{"operator": "Exists"}]}
    pod = api.create({**reference("v1", "Pod", "one", namespace), "spec": spec})

    assert wait_until(lambda: api.get(pod)["spec"].get("nodeName"), what="the pod to be bound") == namespace


def test_a_deleted_job_takes_its_pods_along(control_plane: Cluster) -> None:
    namespace = control_plane.namespace()
    api = control_plane.api
    api.create(job(namespace))
    kind = reference("v1", "Pod", namespace=namespace)
    wait_until(lambda: api.items(kind), what="the pods")

    api.delete(job(namespace), propagationPolicy="Background")

    wait_until(lambda: not api.items(kind), what="the pods to be collected")


def test_a_deleted_namespace_goes(control_plane: Cluster) -> None:
    namespace = reference("v1", "Namespace", control_plane.namespace())

    control_plane.api.delete(namespace)

    wait_until(lambda: control_plane.api.find(namespace) is None, what="the namespace to go")
