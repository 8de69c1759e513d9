"""The ConfigMap that holds the job for its pods: immutable, so every pod reads what the first one read."""

from __future__ import annotations

import json

from asyncdiff_api.formats.container import JOB_FILE
from asyncdiff_api.formats.shards import shards_of
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.names import child_metadata, shards_name
from asyncdiff_operator.observed import Manifest

MOST_SHARDS = 10_000
"""What parallelism.shards may be at most; as many are made where a default would be more."""


def number_of_shards(job: AsyncDiffJob, config: Manifest | None) -> int:
    """Gives the number of shards: the recorded one, since parallelism.pods may have changed, or that of the day."""
    if config is not None:
        recorded: int = json.loads(config["data"][JOB_FILE])["spec"]["parallelism"]["shards"]
        return recorded
    return min(shards_of(job), MOST_SHARDS)


def config_map(manifest: Manifest, job: AsyncDiffJob, shards: int) -> Manifest:
    """Gives the ConfigMap.

    Args:
        manifest: The job as stored.
        job: The same, read.
        shards: Their number, fixed from here on.
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
        "metadata": child_metadata(manifest, shards_name(manifest)),
        "immutable": True,
        "data": {JOB_FILE: json.dumps(document, ensure_ascii=False, indent=1)},
    }
