"""The Job of the finish step: one pod without a GPU that merges the ledger into manifest and gallery."""

from __future__ import annotations

from typing import Any

from asyncdiff_api.formats.container import FAILURE_VARIABLE, FINISH_COMMAND
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.children.failure_policy import finish_policy
from asyncdiff_operator.children.template import StepPod, pod_template
from asyncdiff_operator.names import STEP_LABEL, Step, child_metadata, finish_name
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.settings import Defaults, PodResources


def finish_job(
    manifest: Manifest, job: AsyncDiffJob, defaults: Defaults, image: str, failure: str, config: str
) -> Manifest:
    """Gives the Job. It has no queue: it asks for no GPU, and the job's quota has been given back.

    Args:
        manifest: The job as stored.
        job: The same, read.
        defaults: What the administrator decided.
        image: Of the shards' pods, so that one version writes the whole output.
        failure: Why the shards did not all succeed, as a sentence; empty if they did.
        config: Name of the ConfigMap that holds the job.
    """
    metadata: dict[str, Any] = child_metadata(manifest, finish_name(manifest))
    own = StepPod(
        step=Step.FINISH,
        config=config,
        image=image,
        command=FINISH_COMMAND,
        resources=_resources(defaults.finish_resources),
        environment={FAILURE_VARIABLE: failure} if failure else {},
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "labels": {**metadata["labels"], STEP_LABEL: str(Step.FINISH)}},
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": defaults.finish_retries,
            "activeDeadlineSeconds": defaults.finish_deadline_seconds,
            "podFailurePolicy": finish_policy(),
            "podReplacementPolicy": "Failed",
            "template": pod_template(manifest, job, defaults, own),
        },
    }


def _resources(resources: PodResources) -> Manifest:
    named = {"requests": dict(resources.requests), "limits": dict(resources.limits)}
    return {name: quantities for name, quantities in named.items() if quantities}
