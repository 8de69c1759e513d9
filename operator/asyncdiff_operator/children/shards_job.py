"""The Indexed Job of the shards: one pod works off one index, several at a time.

Decisions that its fields record:

- `backoffLimitPerIndex` counts the retries of each shard by itself; there is no `maxFailedIndexes`, since a
  shard that failed leaves the others to run on, and what they make is kept.
- `activeDeadlineSeconds` is the Job's own: it holds while no operator runs, and it ends pods by SIGTERM, so they
  drain. Kubernetes begins it anew whenever a Job is resumed; the operator then takes off what was used up.
  A job that the operator gives up gets a deadline of one second.
- `suspend` is set here once. With a queue it is Kueue's from then on and never sent again.
- No TTL: a Job that vanished by itself could not be told from one that someone deleted.
"""

from __future__ import annotations

from typing import Any

from asyncdiff_api.formats.container import (
    HEALTH_PATH,
    HTTP_PORT,
    HTTP_PORT_NAME,
    INPUT_HOSTS_VARIABLE,
    SHARD_COMMAND,
)
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import Device
from asyncdiff_api.pod_rules import GPU_RESOURCE

from asyncdiff_operator.children.failure_policy import shards_policy
from asyncdiff_operator.children.template import StepPod, pod_template
from asyncdiff_operator.names import QUEUE_LABEL, STEP_LABEL, Step, child_metadata, shards_name
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.settings import Defaults

STAY: Manifest = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
"""Asks autoscalers not to move a pod for tidiness: it would load and compile the model once more."""


def shards_job(manifest: Manifest, job: AsyncDiffJob, defaults: Defaults, shards: int) -> Manifest:
    """Gives the Job.

    Args:
        manifest: The job as stored.
        job: The same, read.
        defaults: What the administrator decided.
        shards: Number of shards, as in the ConfigMap.
    """
    run = job.spec.run
    metadata: dict[str, Any] = child_metadata(manifest, shards_name(manifest))
    queue = {QUEUE_LABEL: run.queue_name} if run.queue_name else {}
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": shards,
        "parallelism": min(job.spec.parallelism.pods, shards),
        "backoffLimitPerIndex": run.retries_per_shard,
        "podFailurePolicy": shards_policy(),
        "podReplacementPolicy": "Failed",
        "suspend": bool(run.queue_name) or run.suspend,
        "template": pod_template(manifest, job, defaults, _pod(manifest, job, defaults)),
    }
    if run.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = run.active_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "labels": {**metadata["labels"], STEP_LABEL: str(Step.SHARDS), **queue}},
        "spec": spec,
    }


def _pod(manifest: Manifest, job: AsyncDiffJob, defaults: Defaults) -> StepPod:
    return StepPod(
        step=Step.SHARDS,
        config=shards_name(manifest),
        image=job.spec.pod.image or defaults.image,
        command=SHARD_COMMAND,
        resources=_resources(job),
        environment={INPUT_HOSTS_VARIABLE: ",".join(defaults.input_hosts)} if defaults.input_hosts else {},
        annotations=STAY,
        container={"ports": [{"name": HTTP_PORT_NAME, "containerPort": HTTP_PORT}], **_PROBES},
    )


def _resources(job: AsyncDiffJob) -> Manifest:
    asked = job.spec.pod.resources.model_dump(mode="json", exclude_defaults=True)
    if job.spec.parallelism.device is Device.CUDA:
        # A limit is enough: for what cannot be shared Kubernetes takes it for the request as well.
        asked["limits"] = {**asked.get("limits", {}), GPU_RESOURCE: str(job.spec.parallelism.gpus_per_pod)}
    return asked


_HEALTH: Manifest = {"httpGet": {"path": HEALTH_PATH, "port": HTTP_PORT_NAME}, "timeoutSeconds": 5}
# The parent process answers as soon as Python runs, long before a model is loaded. Nothing waits for a pod to be
# ready, so there is no such probe.
_PROBES: Manifest = {
    "startupProbe": {**_HEALTH, "periodSeconds": 5, "failureThreshold": 60},
    "livenessProbe": {**_HEALTH, "periodSeconds": 10, "failureThreshold": 6},
}
