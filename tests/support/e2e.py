"""Jobs on a real node, for the end-to-end tests."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

from asyncdiff_api.job import API_VERSION, KIND

from support.cluster import reference
from support.processes import wait_until

if TYPE_CHECKING:
    from support.cluster.access import Access
    from support.installation import Installation
    from support.s3 import S3Server

logger = logging.getLogger(__name__)

ENDPOINT = "http://s3.default.svc.cluster.local"
KEYS = "bucket-keys"
ONE_THREAD = {"name": "OMP_NUM_THREADS", "value": "1"}
"""Threads that wait for one another in circles are slow on cores that others use too."""
SHARE = {"requests": {"cpu": "500m"}}
"""Without it a node gives a pod a five-hundredth of what any process outside of pods gets on the same cores."""
MADE_BY_TESTS = "asyncdiff.dev/tests"
"""Label of namespaces that go with the tests."""
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
"""Labels of namespaces that refuse every pod which the profile `restricted` does not allow."""
SECONDS = 600
"""A job may take so long on two busy cores before it is given up."""


def team_namespace(cluster: Access, s3: S3Server) -> str:
    """Makes a namespace that enforces the profile `restricted` and holds the bucket's keys; gives its name."""
    name = cluster.namespace("team")
    labels = {**RESTRICTED, MADE_BY_TESTS: "e2e"}
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
        "pod": {"env": [ONE_THREAD], "resources": SHARE},
    }
    merged = {part: {**parts.get(part, {}), **spec.get(part, {})} for part in parts.keys() | spec.keys()}
    for part in merged.values():
        for field in [field for field, value in part.items() if value is None]:
            del part[field]
    return {**reference(API_VERSION, KIND, name, namespace), "spec": merged}


def status_of(cluster: Access, job: dict[str, Any]) -> dict[str, Any]:
    """A job's status as it stands."""
    status: dict[str, Any] = cluster.api.get(job).get("status") or {}
    return status


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of a status; empty if it has none of that type."""
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def wait_for_end(cluster: Access, job: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
    """Waits until a job is Complete or Failed and gives its status."""

    def ended() -> dict[str, Any] | None:
        status = status_of(cluster, job)
        ends = [condition(status, kind).get("status") for kind in ("Complete", "Failed")]
        return status if "True" in ends else None

    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    try:
        status = wait_until(ended, what=f"the end of {name}", seconds=seconds, pause=0.5)
    except TimeoutError as error:
        story = cluster.kubectl("-n", namespace, "describe", "asyncdiffjobs,jobs,pods")
        raise TimeoutError(f"{error}; the cluster says:\n{story}") from None
    logger.info("%s is %s", name, in_words(status))
    return status


def in_words(status: dict[str, Any]) -> str:
    """How a job ended, in one line."""
    if condition(status, "Failed").get("status") == "True":
        return "Failed: {reason}: {message}".format(**condition(status, "Failed"))
    return "{phase}: {items[done]} of {items[total]} items done".format(**status)


def records_of(s3: S3Server, bucket: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a finished job's manifest."""
    key = job["spec"]["output"]["s3"]["prefix"] + "manifest.jsonl"
    body = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def metrics_of(installation: Installation) -> list[str]:
    """The page of metrics of each replica of the operator that stays, as the API server passes it on."""
    cluster, system = installation.cluster, installation.system
    found = cluster.api.items(reference("v1", "Pod", namespace=system))
    staying = [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]
    address = f"/api/v1/namespaces/{system}/pods/{{}}:8080/proxy/metrics"
    return [cluster.kubectl("get", "--raw", address.format(name)) for name in staying]
