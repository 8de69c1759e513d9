"""What goes wrong on real nodes, done to a real one: no item is lost, none is recorded twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import reference
from support.e2e import condition, records_of, small_job, team_namespace, wait_for_end
from support.processes import wait_until

if TYPE_CHECKING:
    from support.installation import Installation

pytestmark = pytest.mark.usefixtures("one_after_the_other")
ALONE = {"gpusPerPod": 1, "strategy": "Data", "lookahead": None}


@pytest.fixture
def one_after_the_other(installation: Installation) -> Iterator[None]:
    """Removes the jobs of a test, so that the next one has the machine for itself."""
    yield
    installation.cluster.kubectl("delete", "asyncdiffjobs", "--all", "--all-namespaces", "--timeout=120s")


def pods(installation: Installation, job: dict[str, Any], **labels: str) -> list[dict[str, Any]]:
    """The pods of a job that have not ended."""
    wanted = {"asyncdiff.dev/job-name": job["metadata"]["name"], **labels}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    kind = reference("v1", "Pod", namespace=job["metadata"]["namespace"])
    found = installation.cluster.api.items(kind, labelSelector=selector)
    return [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]


def at_work(installation: Installation, job: dict[str, Any], shard: int) -> dict[str, Any]:
    """The pod of a shard, once it generates."""
    index = {"batch.kubernetes.io/job-completion-index": str(shard)}

    def found() -> dict[str, Any] | None:
        for pod in pods(installation, job, **index):
            running = pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
            if running and "the model is loaded" in logs(installation, pod):
                return pod
        return None

    return wait_until(found, what=f"shard {shard} at work", seconds=240, pause=0.5)


def logs(installation: Installation, pod: dict[str, Any]) -> str:
    """What a pod has logged."""
    metadata = pod["metadata"]
    return installation.cluster.kubectl("-n", metadata["namespace"], "logs", metadata["name"])


def test_a_job_survives_what_happens_to_its_pods_the_operator_and_the_bucket(
    installation: Installation,
) -> None:
    cluster, s3, node = installation.cluster, installation.s3, installation.node
    bucket = s3.bucket()
    job = small_job(
        "storm",
        team_namespace(cluster, s3),
        bucket,
        generate={"seeds": {"count": 12}, "steps": 8},
        parallelism={**ALONE, "shards": 3, "pods": 1},
    )
    cluster.api.create(job)

    deleted = at_work(installation, job, 0)
    cluster.api.delete(reference("v1", "Pod", deleted["metadata"]["name"], deleted["metadata"]["namespace"]))
    killed = at_work(installation, job, 0)
    container = killed["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node.sandbox.run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)
    at_work(installation, job, 0)
    cluster.kubectl("-n", installation.system, "delete", "pods", "--all", "--wait=false")
    at_work(installation, job, 1)
    s3.kill()
    wait_until(lambda: s3.processes.exit_code("versitygw") is not None, what="the S3 server's end")
    s3.run()
    status = wait_for_end(cluster, job, 600)

    assert condition(status, "Complete").get("status") == "True", status
    records = records_of(s3, bucket, job)
    assert Counter(record["id"] for record in records).most_common(1)[0][1] == 1
    assert len(records) == status["items"]["done"] == 12


def test_a_drained_node_gives_its_pods_back_without_a_retry_charged(installation: Installation) -> None:
    cluster, s3 = installation.cluster, installation.s3
    bucket = s3.bucket()
    job = small_job(
        "drained",
        team_namespace(cluster, s3),
        bucket,
        generate={"seeds": {"count": 6}, "steps": 12},
        parallelism={**ALONE, "shards": 1, "pods": 1},
        run={"retriesPerShard": 0},
    )
    cluster.api.create(job)

    at_work(installation, job, 0)
    selector = f"--pod-selector=asyncdiff.dev/job-name={job['metadata']['name']}"
    cluster.kubectl("drain", "node1", selector, "--force", "--delete-emptydir-data", "--timeout=120s")
    cluster.kubectl("uncordon", "node1")
    status = wait_for_end(cluster, job)

    assert condition(status, "Complete").get("status") == "True", status
    assert len(records_of(s3, bucket, job)) == 6


@pytest.mark.parametrize(
    ("name", "spec", "told"),
    [
        ("no-image", {"pod": {"image": "localhost/nobody-has-this:1"}}, "its image cannot be pulled"),
        ("too-large", {"pod": {"resources": {"requests": {"cpu": "1000"}}}}, "Insufficient cpu"),
    ],
)
def test_a_job_that_cannot_start_fails_with_the_clusters_own_reason(
    installation: Installation, name: str, spec: dict[str, Any], told: str
) -> None:
    cluster, s3 = installation.cluster, installation.s3
    namespace = team_namespace(cluster, s3)
    job = small_job(name, namespace, s3.bucket(), **spec, run={"startDeadlineSeconds": 10})
    cluster.api.create(job)

    failed = condition(wait_for_end(cluster, job), "Failed")

    assert failed["reason"] == "StartDeadlineExceeded"
    assert told in failed["message"]


def test_a_job_deleted_midway_leaves_nothing_in_the_cluster(installation: Installation) -> None:
    cluster, s3 = installation.cluster, installation.s3
    job = small_job("deleted", team_namespace(cluster, s3), s3.bucket())
    cluster.api.create(job)
    wait_until(lambda: pods(installation, job), what="its pods")
    cluster.api.delete(job)

    def left() -> list[str]:
        kinds = "jobs,pods,configmaps"
        label = "asyncdiff.dev/job-name=deleted"
        return cluster.kubectl(
            "-n", job["metadata"]["namespace"], "get", kinds, "-l", label, "-o", "name"
        ).split()

    wait_until(lambda: not left(), what="the end of its children", seconds=120, pause=0.5)
    assert cluster.api.find(job) is None
