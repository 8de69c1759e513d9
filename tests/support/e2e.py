"""Jobs on a real node, for the end-to-end tests."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from asyncdiff_api.job import API_VERSION, KIND

from support.cluster import Cluster, reference
from support.processes import wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server

ENDPOINT = "http://s3.default.svc.cluster.local"
KEYS = "bucket-keys"
SECONDS = 300
"""A job may take so long on two busy cores before it is given up."""


def team_namespace(cluster: Cluster, s3: S3Server) -> str:
    """Makes a namespace that enforces the profile `restricted` and holds the bucket's keys; gives its name."""
    name = cluster.namespace("team")
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.api.patch(reference("v1", "Namespace", name), {"metadata": {"labels": labels}})
    keys = {"AWS_ACCESS_KEY_ID": s3.root.access_key, "AWS_SECRET_ACCESS_KEY": s3.root.secret_key}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    cluster.api.create({**reference("v1", "Secret", KEYS, name), "data": encoded})
    return name


def small_job(name: str, namespace: str, bucket: str, **spec: dict[str, Any]) -> dict[str, Any]:
    """A job of small pictures: 2 shards, each worked off by 2 ranks that look ahead together.

    Fields in `spec`, by their part, take the place of these; None takes one away.
    """
    parts: dict[str, dict[str, Any]] = {
        "model": {"bundled": "shapes-unet", "dtype": "float32"},
        "generate": {"prompts": ["a red circle left of a blue square"], "seeds": {"count": 4}, "steps": 6},
        "parallelism": {
            "gpusPerPod": 2,
            "pods": 2,
            "shards": 2,
            "device": "CPU",
            "strategy": "Lookahead",
            "lookahead": {"degree": 2, "warmupSteps": 1, "exactTailSteps": 1},
        },
        "output": {
            "s3": {"bucket": bucket, "prefix": f"{name}/", "endpoint": ENDPOINT, "credentialsSecret": KEYS}
        },
        "run": {"drainSeconds": 10},
    }
    merged = {part: {**parts.get(part, {}), **spec.get(part, {})} for part in parts.keys() | spec.keys()}
    for part in merged.values():
        for field in [field for field, value in part.items() if value is None]:
            del part[field]
    return {**reference(API_VERSION, KIND, name, namespace), "spec": merged}


def status_of(cluster: Cluster, job: dict[str, Any]) -> dict[str, Any]:
    """A job's status as it stands."""
    status: dict[str, Any] = cluster.api.get(job).get("status") or {}
    return status


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of a status; empty if it has none of that type."""
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def wait_for_end(cluster: Cluster, job: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
    """Waits until a job is Complete or Failed and gives its status."""

    def ended() -> dict[str, Any] | None:
        status = status_of(cluster, job)
        ends = [condition(status, kind).get("status") for kind in ("Complete", "Failed")]
        return status if "True" in ends else None

    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    try:
        return wait_until(ended, what=f"the end of {name}", seconds=seconds, pause=0.5)
    except TimeoutError as error:
        story = cluster.kubectl("-n", namespace, "describe", "asyncdiffjobs,jobs,pods")
        raise TimeoutError(f"{error}; the cluster says:\n{story}") from None


def records_of(s3: S3Server, bucket: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a finished job's manifest."""
    key = job["spec"]["output"]["s3"]["prefix"] + "manifest.jsonl"
    body = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]
