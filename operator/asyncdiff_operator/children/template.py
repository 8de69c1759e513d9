"""The pod template that both steps share: one container, no rights, nothing of the node.

It passes the profile `restricted` of the Pod Security Standards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncdiff_api.fields import Section
from asyncdiff_api.formats import container
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.children.environment import environment
from asyncdiff_operator.children.volumes import mounted_volumes
from asyncdiff_operator.names import STEP_LABEL, Step, labels_of
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.settings import Defaults


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPod:
    """What one step's pods have that the other's have not."""

    step: Step
    config: str
    """Name of the ConfigMap that holds the job."""
    image: str
    command: Sequence[str]
    resources: Manifest
    environment: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    container: Manifest = field(default_factory=dict)
    """Further fields of the container."""


def pod_template(manifest: Manifest, job: AsyncDiffJob, defaults: Defaults, own: StepPod) -> Manifest:
    """Gives the pod template of a step.

    Args:
        manifest: The job as stored.
        job: The same, read.
        defaults: What the administrator decided.
        own: What belongs to this step.
    """
    labels = {**job.spec.pod.labels, **labels_of(manifest), STEP_LABEL: str(own.step)}
    annotations = {**own.annotations, **job.spec.pod.annotations}
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": _pod_spec(manifest, job, defaults, own),
    }


def _pod_spec(manifest: Manifest, job: AsyncDiffJob, defaults: Defaults, own: StepPod) -> Manifest:
    volumes = mounted_volumes(job, defaults, own.config)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": job.spec.run.drain_seconds + container.DRAIN_MARGIN_SECONDS,
        "securityContext": _pod_security(defaults),
        "containers": [
            {
                "name": container.CONTAINER,
                "image": own.image,
                **({"imagePullPolicy": defaults.image_pull_policy} if defaults.image_pull_policy else {}),
                "command": list(own.command),
                "env": environment(manifest, job, defaults, own.environment),
                "resources": own.resources,
                "volumeMounts": [volume.mount for volume in volumes],
                "securityContext": _CONTAINER_SECURITY,
                "terminationMessagePath": str(container.TERMINATION_LOG),
                # Logs in its place would be text where a `Result` is expected.
                "terminationMessagePolicy": "File",
                **own.container,
            }
        ],
        "volumes": [volume.volume for volume in volumes],
    }
    return {**spec, **_placement(job)}


_CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
}


def _pod_security(defaults: Defaults) -> Manifest:
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if defaults.fs_group is not None:
        # A shared cache may hold many files: only a volume whose root has another group is gone through.
        security |= {"fsGroup": defaults.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return security


def _placement(job: AsyncDiffJob) -> dict[str, Any]:
    """Where a pod may run and as whom; what the job leaves out is left to Kubernetes."""
    pod, run = job.spec.pod, job.spec.run
    wanted: dict[str, Any] = {
        "imagePullSecrets": [_plain(secret) for secret in pod.image_pull_secrets],
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [_plain(toleration) for toleration in pod.tolerations],
        "affinity": dict(pod.affinity),
        "serviceAccountName": pod.service_account_name,
        "runtimeClassName": pod.runtime_class_name,
        "priorityClassName": run.priority_class_name,
    }
    return {name: value for name, value in wanted.items() if value}


def _plain(section: Section) -> Manifest:
    """The section in Kubernetes' words, without what is not set."""
    return section.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
