"""The ConfigMap that holds the job for its pods: immutable, so every pod reads what the first one read."""

from __future__ import annotations

import json
from typing import Any

from asyncdiff_api.formats.container import JOB_FILE
from asyncdiff_api.formats.shards import shards_of
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.names import child_metadata
from asyncdiff_operator.observed import Manifest

MOST_SHARDS = 10_000
"""What parallelism.shards may be at most; as many are made where a default would be more."""


def number_of_shards(job: AsyncDiffJob, config: Manifest | None) -> int:
    """Gives the number of shards: the recorded one, since parallelism.pods may have changed, or that of the day."""
    if config is not None:
        recorded: int = _recorded(config)["parallelism"]["shards"]
        return recorded
    return min(shards_of(job), MOST_SHARDS)


def is_up_to_date(job: AsyncDiffJob, config: Manifest) -> bool:
    """Whether pods may go by a ConfigMap: acceptance is what they read and a person may change meanwhile."""
    recorded: int = _recorded(config)["acceptance"]["maxFailedItems"]
    return recorded == job.spec.acceptance.max_failed_items


def config_map(manifest: Manifest, job: AsyncDiffJob, shards: int, name: str) -> Manifest:
    """Gives the ConfigMap.

    Args:
        manifest: The job as stored.
        job: The same, read.
        shards: Their number, fixed from here on.
        name: What it is called.
    """
    document = job.document()
    metadata = manifest["metadata"]
    names = ("name", "namespace", "uid", "generation", "labels")
    document["metadata"] = {name: metadata[name] for name in names if name in metadata}
    document["spec"]["parallelism"]["shards"] = shards
    document.pop("status", None)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(manifest, name),
        "immutable": True,
        "data": {JOB_FILE: json.dumps(document, ensure_ascii=False, indent=1)},
    }


def _recorded(config: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(config["data"][JOB_FILE])["spec"]
    return spec
