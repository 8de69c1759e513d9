"""What goes wrong on real nodes, done to a real one: no item is lost, none is recorded twice."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import reference
from support.e2e import condition, metrics_of, records_of, small_job, team_namespace, wait_for_end
from support.processes import wait_until

if TYPE_CHECKING:
    from support.installation import Installation
    from support.s3 import S3Server

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.usefixtures("one_after_the_other"), pytest.mark.timeout(1200)]
ALONE = {"gpusPerPod": 1, "strategy": "Data", "lookahead": None}


@pytest.fixture
def one_after_the_other(installation: Installation) -> Iterator[None]:
    """Removes the jobs of a test, so that the next one has the machine for itself."""
    yield
    installation.cluster.kubectl("delete", "asyncdiffjobs", "--all", "--all-namespaces", "--timeout=120s")


def pods(installation: Installation, job: dict[str, Any], *labels: str) -> list[dict[str, Any]]:
    """The pods of a job that have certain labels, such as `asyncdiff.dev/step=shards`."""
    selector = ",".join([f"asyncdiff.dev/job-name={job['metadata']['name']}", *labels])
    kind = reference("v1", "Pod", namespace=job["metadata"]["namespace"])
    return installation.cluster.api.items(kind, labelSelector=selector)


def at_work(
    installation: Installation, job: dict[str, Any], shard: int, *, instead_of: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The pod of a shard, once it generates; where one was lost before, the one in its place."""
    lost = instead_of["metadata"]["uid"] if instead_of else None

    def found() -> dict[str, Any] | None:
        for pod in pods(installation, job, f"batch.kubernetes.io/job-completion-index={shard}"):
            running = pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
            another = pod["metadata"]["uid"] != lost
            if running and another and "the model is loaded" in logs(installation, pod):
                logger.info("shard %d is at work in pod %s", shard, pod["metadata"]["name"])
                return pod
        return None

    return wait_until(found, what=f"shard {shard} at work", seconds=240, pause=0.5)


@contextmanager
def away(s3: S3Server, seconds: float) -> Iterator[None]:
    """Stops the S3 server for so long, or for longer if what is done meanwhile takes longer."""
    s3.stop()
    logger.info("the bucket is away")
    back = time.monotonic() + seconds
    try:
        yield
        wait_until(lambda: time.monotonic() > back, what="the outage's end", seconds=2 * seconds, pause=0.5)
    finally:
        s3.run()
    logger.info("the bucket is back")


def once_each(records: list[dict[str, Any]]) -> int:
    """How many items were recorded, each of them once."""
    assert Counter(record["id"] for record in records).most_common(1)[0][1] == 1
    return len(records)


def logs(installation: Installation, pod: dict[str, Any]) -> str:
    """What a pod has logged; nothing if it has gone meanwhile."""
    metadata = pod["metadata"]
    try:
        return installation.cluster.kubectl("-n", metadata["namespace"], "logs", metadata["name"])
    except subprocess.CalledProcessError:
        return ""


def test_a_job_survives_its_pod_and_the_operator_deleted_at_once(installation: Installation) -> None:
    cluster, s3 = installation.cluster, installation.s3
    bucket = s3.bucket()
    job = small_job(
        "deletions",
        team_namespace(cluster, s3),
        bucket,
        generate={"seeds": {"count": 6}, "steps": 8},
        parallelism={**ALONE, "shards": 1, "pods": 1},
    )
    cluster.api.create(job)

    deleted = at_work(installation, job, 0)["metadata"]
    cluster.kubectl("-n", deleted["namespace"], "delete", "pod", deleted["name"], "--wait=false")
    cluster.kubectl("-n", installation.system, "delete", "pods", "--all", "--wait=false")
    logger.info("that pod and the operator's are deleted")
    status = wait_for_end(cluster, job)

    assert condition(status, "Complete").get("status") == "True", status
    assert status["items"]["done"] == 6
    assert once_each(records_of(s3, bucket, job)) == 6


def test_a_bucket_that_is_away_for_a_minute_costs_neither_items_nor_a_retry(
    installation: Installation,
) -> None:
    cluster, s3 = installation.cluster, installation.s3
    bucket = s3.bucket()
    job = small_job(
        "outage",
        team_namespace(cluster, s3),
        bucket,
        generate={"seeds": {"count": 6}, "steps": 8},
        parallelism={**ALONE, "shards": 1, "pods": 1},
        run={"retriesPerShard": 0},
    )
    cluster.api.create(job)

    worker = at_work(installation, job, 0)
    with away(s3, seconds=60):
        # meanwhile the operator is told to ask for progress through the API server
        installation.upgrade(progress="proxy")
        asked = re.compile(r'api_calls_total\{code="200",resource="pods",verb="proxy"\}')
        wait_until(lambda: any(map(asked.search, metrics_of(installation))), what="progress by the proxy")
    status = wait_for_end(cluster, job)

    assert condition(status, "Complete").get("status") == "True", status
    assert once_each(records_of(s3, bucket, job)) == 6
    (only,) = pods(installation, job, "asyncdiff.dev/step=shards")
    assert only["metadata"]["uid"] == worker["metadata"]["uid"]


def test_a_killed_container_costs_a_retry_and_a_drained_node_none(installation: Installation) -> None:
    cluster, s3, node = installation.cluster, installation.s3, installation.node
    if node is None:
        pytest.skip("kills on a node and drains it, which is nothing to do to a cluster that others use")
    bucket = s3.bucket()
    job = small_job(
        "drained",
        team_namespace(cluster, s3),
        bucket,
        generate={"seeds": {"count": 6}, "steps": 12},
        parallelism={**ALONE, "shards": 1, "pods": 1},
        run={"retriesPerShard": 1},
    )
    cluster.api.create(job)

    killed = at_work(installation, job, 0)
    container = killed["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node.sandbox.run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)
    logger.info("its container is killed")
    at_work(installation, job, 0, instead_of=killed)
    selector = f"--pod-selector=asyncdiff.dev/job-name={job['metadata']['name']}"
    cluster.kubectl("drain", "node1", selector, "--force", "--delete-emptydir-data", "--timeout=120s")
    cluster.kubectl("uncordon", "node1")
    logger.info("the node was drained, and takes pods again")
    status = wait_for_end(cluster, job)

    assert condition(status, "Complete").get("status") == "True", status
    assert once_each(records_of(s3, bucket, job)) == 6
    there = pods(installation, job, "asyncdiff.dev/step=shards")
    (last,) = (pod for pod in there if pod["status"]["phase"] == "Succeeded")
    counted = last["metadata"]["annotations"]
    assert counted["batch.kubernetes.io/job-index-failure-count"] == "1"
    assert counted["batch.kubernetes.io/job-index-ignored-failure-count"] == "1"


def test_jobs_that_cannot_start_fail_with_the_clusters_own_reason(installation: Installation) -> None:
    cluster, s3 = installation.cluster, installation.s3
    namespace = team_namespace(cluster, s3)
    hopeless: dict[str, tuple[dict[str, Any], str]] = {
        "no-image": ({"image": "localhost/nobody-has-this:1"}, "its image cannot be pulled"),
        "too-large": ({"resources": {"requests": {"cpu": "1000"}}}, "Insufficient cpu"),
    }
    jobs = {
        name: small_job(name, namespace, s3.bucket(), pod=pod, run={"startDeadlineSeconds": 10})
        for name, (pod, _) in hopeless.items()
    }
    for job in jobs.values():
        cluster.api.create(job)

    for name, (_, told) in hopeless.items():
        failed = condition(wait_for_end(cluster, jobs[name]), "Failed")
        assert failed["reason"] == "StartDeadlineExceeded"
        assert told in failed["message"]


def test_a_job_deleted_midway_leaves_nothing_in_the_cluster(installation: Installation) -> None:
    cluster, s3 = installation.cluster, installation.s3
    job = small_job("deleted", team_namespace(cluster, s3), s3.bucket())
    cluster.api.create(job)
    wait_until(lambda: pods(installation, job), what="its pods")
    cluster.api.delete(job)
    logger.info("the job is deleted while its pods start")

    def left() -> list[str]:
        kinds = "jobs,pods,configmaps"
        label = "asyncdiff.dev/job-name=deleted"
        return cluster.kubectl(
            "-n", job["metadata"]["namespace"], "get", kinds, "-l", label, "-o", "name"
        ).split()

    wait_until(lambda: not left(), what="the end of its children", seconds=120, pause=0.5)
    logger.info("nothing of it is left")
    assert cluster.api.find(job) is None
