"""A whole job on a real node: applied, worked off by pods, found in the bucket."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from support.e2e import condition, records_of, small_job, team_namespace, wait_for_end
from support.installation import Installation

ITEMS = 4


@pytest.fixture(scope="module")
def finished(installation: Installation) -> tuple[Installation, dict[str, Any], dict[str, Any], str]:
    """A job that has come to its end: the installation, the job, its status, its bucket."""
    cluster, bucket = installation.cluster, installation.s3.bucket()
    job = small_job("posters", team_namespace(cluster, installation.s3), bucket)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    return installation, job, wait_for_end(cluster, job), bucket


def test_the_status_tells_that_every_item_was_made(finished: Any) -> None:
    _, _, status, _ = finished
    assert condition(status, "Complete")["status"] == "True", status
    assert status["items"] == {"total": ITEMS, "done": ITEMS, "failed": 0, "rejected": 0, "running": 0}
    assert status["shards"]["succeeded"] == 2
    assert status["phase"] == "Complete"


def test_the_manifest_agrees_with_the_objects_of_the_bucket(finished: Any) -> None:
    installation, job, _, bucket = finished
    client, prefix = installation.s3.client(), job["spec"]["output"]["s3"]["prefix"]
    records = records_of(installation.s3, bucket, job)
    for record in records:
        body = client.get_object(Bucket=bucket, Key=prefix + record["key"])["Body"].read()
        assert hashlib.sha256(body).hexdigest() in record["sha256"]
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}items/")["Contents"]
    assert len(records) == len(listed) == ITEMS
    assert client.head_object(Bucket=bucket, Key=f"{prefix}_SUCCESS")
