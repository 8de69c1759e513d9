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
    recorded = None if config is None else _recorded(config, "parallelism", "shards")
    return min(shards_of(job), MOST_SHARDS) if recorded is None else recorded


def is_up_to_date(job: AsyncDiffJob, config: Manifest) -> bool:
    """Whether pods may go by a ConfigMap: acceptance is what they read and a person may change meanwhile."""
    return _recorded(config, "acceptance", "maxFailedItems") == job.spec.acceptance.max_failed_items


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


def _recorded(config: Manifest, section: str, name: str) -> int | None:
    """Gives a number of the spec that pods read; None where somebody has put something else in the job's place."""
    try:
        value: Any = json.loads(config["data"][JOB_FILE])["spec"][section][name]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, int) else None
