"""Names and labels of a job's children.

Names carry 8 digits of the job's uid: a job that is deleted and created anew under its name at once never
meets the children of the first.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Final

from asyncdiff_api.job import API_VERSION, GROUP, KIND

from asyncdiff_operator.observed import Manifest

JOB_UID_LABEL: Final = f"{GROUP}/job-uid"
"""On every child: the uid of its job. The operator watches what has this label and nothing else."""
JOB_NAME_LABEL: Final = f"{GROUP}/job-name"
"""On every child, for people."""
STEP_LABEL: Final = f"{GROUP}/step"
"""On Jobs and pods: a `Step`."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "asyncdiff-operator"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"
"""On pods of an Indexed Job: the number of the shard."""
FAILURES_ANNOTATION: Final = "batch.kubernetes.io/job-index-failure-count"
"""On pods of an Indexed Job: how many of the shard's retries had been charged before this pod."""
DRAINS_ANNOTATION: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
"""On pods of an Indexed Job: how many of the shard's pods ended without a retry being charged."""
STOP_REASON_ANNOTATION: Final = f"{GROUP}/stop-reason"
"""On the Job of the shards: why the operator ended it, written in the same patch that ends it."""
STOP_MESSAGE_ANNOTATION: Final = f"{GROUP}/stop-message"
ACTIVE_SECONDS_ANNOTATION: Final = f"{GROUP}/active-seconds"
"""On the Job of the shards: how long it had run before it was last suspended."""
RESUMES_ANNOTATION: Final = f"{GROUP}/resumes"
"""On a Job: how often the operator has resumed it since a person last suspended it."""
GIVEN_UP: Final = "DeletionByAsyncDiffOperator"
"""Reason of the disruption by which the operator marks a pod as failed before it removes it by force."""

_UID: Final = re.compile(r"[0-9a-f]{32}")


class Step(StrEnum):
    """What the pods of a Job do."""

    SHARDS = "shards"
    FINISH = "finish"


def shards_name(job: Manifest) -> str:
    """Gives the name of the Job of the shards and of the ConfigMap: at most 54 characters."""
    return f"{job['metadata']['name']}-{_digits(job)[:8]}"


def finish_name(job: Manifest) -> str:
    """Gives the name of the Job of the finish step: at most 61 characters."""
    return f"{shards_name(job)}-{Step.FINISH}"


def trace_id(job: Manifest) -> str:
    """Gives the 32 hexadecimal digits by which logs and items of one job are found."""
    return _digits(job)


def labels_of(job: Manifest) -> dict[str, str]:
    """Gives the labels of a job's children."""
    metadata = job["metadata"]
    return {
        JOB_UID_LABEL: metadata["uid"],
        JOB_NAME_LABEL: metadata["name"],
        MANAGED_BY_LABEL: MANAGED_BY,
    }


def child_metadata(job: Manifest, name: str) -> dict[str, object]:
    """Gives a child's metadata: name, labels, and the owner with which it goes."""
    metadata = job["metadata"]
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        # False, since true would ask of whoever makes a child that it may set finalizers of the job.
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": labels_of(job),
        "ownerReferences": [owner],
    }


def is_marked(child: Manifest, job_uid: str) -> bool:
    """Whether an object is a job's own: an owner reference says so, and the label by which it is watched."""
    metadata = child["metadata"]
    owned = any(owner["uid"] == job_uid for owner in metadata.get("ownerReferences", ()))
    return owned and (metadata.get("labels") or {}).get(JOB_UID_LABEL) == job_uid


def pod_selector(job: Manifest) -> str:
    """Gives the label selector of the shards' pods."""
    return f"{JOB_UID_LABEL}={job['metadata']['uid']},{STEP_LABEL}={Step.SHARDS}"


def _digits(job: Manifest) -> str:
    """The uid's 32 hexadecimal digits; a digest of it where an API server makes other uids."""
    uid = job["metadata"]["uid"]
    digits = uid.replace("-", "").lower()
    return digits if _UID.fullmatch(digits) else hashlib.sha256(uid.encode()).hexdigest()[:32]
