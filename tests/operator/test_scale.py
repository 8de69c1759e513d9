"""Two hundred jobs at once: each ends right, and none costs the API server more than it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_operator.names import JOB_NAME_LABEL
from support.cluster import Api, Cluster, reference
from support.kubelet import (
    Exit,
    Kubelet,
    Node,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    is_finish,
    job_result,
    shard_result,
)
from support.operator import Nursery, operator_on
from support.operator.jobs import condition, submit, writes_of
from support.processes import wait_until

Document = dict[str, Any]

JOBS = 200
SHARDS, ITEMS_PER_SHARD = 1, 4
ONE = {"spec.parallelism": {"shards": SHARDS, "gpusPerPod": 1}}
# What they may end as, and how many of each there are.
FATES = {"Complete": JOBS - 20, "Failed": 20}
OPERATOR = "operator-at-scale"

# Accepted, created, running, each shard's end, finishing, the end; beyond these counts alone, of which one write may
# come every so many seconds.
TURNS = 6 + SHARDS
SECONDS_BETWEEN_COUNTS = 5.0


def is_doomed(name: str) -> bool:
    """Every tenth job's model is missing."""
    return int(name.rpartition("-")[2]) % 10 == 0


def script(pod: Any) -> Script:
    """What the runtime does: the finish step of a job that lacks items says so."""
    if not is_doomed(pod["metadata"]["labels"][JOB_NAME_LABEL]):
        return all_goes_well(SHARDS, ITEMS_PER_SHARD)(pod)
    nothing = counts(SHARDS * ITEMS_PER_SHARD, 0)
    if is_finish(pod):
        return Script((Start(), Say(job_result(pod, SHARDS, nothing, reason=Reason.SHARDS_FAILED)), Exit(0)))
    gated = shard_result(
        pod,
        SHARDS,
        nothing,
        ends=ExitCode.MODEL_UNAVAILABLE,
        reason=Reason.MODEL_UNAVAILABLE,
        message="it is gated",
    )
    return Script((Start(), Say(gated), Exit(ExitCode.MODEL_UNAVAILABLE)))


@pytest.fixture(scope="module")
def ended(plane: Cluster, nodes: Kubelet, nursery: Nursery) -> Iterator[tuple[Cluster, str, list[Document]]]:
    """The jobs when all have ended, and the namespace that they are in."""
    namespace = plane.namespace()
    nodes.behave(namespace, script)
    nodes.add_node(Node(name="many", gpus=JOBS))
    # as people run it, but for the Lease, of which nobody else wants to have it: with every core busy, the API server
    # may take longer than a leader has time
    with operator_on(
        nursery,
        plane,
        namespace,
        identity=OPERATOR,
        lease_seconds="120",
        progress_seconds="5",
        status_seconds="5",
    ) as operator:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: submit(plane.api, namespace, ONE, f"job-{number}"), range(JOBS)))
        wait_until(
            lambda: operator.is_ready() and all(is_over(job) for job in jobs(plane.api, namespace)),
            what=f"{JOBS} jobs to end",
            seconds=500,
            pause=0.5,
        )
        assert operator.metric("asyncdiff_operator_queue_depth") == 0
        yield plane, namespace, jobs(plane.api, namespace)


def jobs(api: Api, namespace: str) -> list[Document]:
    return api.items(reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", namespace=namespace))


def is_over(job: Document) -> bool:
    return job.get("status", {}).get("phase") in FATES


def test_every_job_ends_as_it_should(ended: tuple[Cluster, str, list[Document]]) -> None:
    _, _, found = ended

    assert Counter(job["status"]["phase"] for job in found) == FATES
    for job in found:
        doomed = is_doomed(job["metadata"]["name"])
        end = condition(job["status"], "Failed" if doomed else "Complete")
        assert end["reason"] == ("ModelUnavailable" if doomed else "AllItemsDone")
        if not doomed:
            assert job["status"]["items"]["done"] == SHARDS * ITEMS_PER_SHARD


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_status_writes_of_a_job_are_bounded(ended: tuple[Cluster, str, list[Document]]) -> None:
    plane, namespace, found = ended
    events = writes_of(plane, OPERATOR)
    of_status = Counter(
        event.name
        for event in events
        if event.namespace == namespace and event.resource == "asyncdiffjobs/status" and event.code < 300
    )

    assert len(of_status) == JOBS
    for job in found:
        lasted = moment(job["status"]["completionTime"]) - moment(job["metadata"]["creationTimestamp"])
        most = TURNS + lasted.total_seconds() / SECONDS_BETWEEN_COUNTS
        assert of_status[job["metadata"]["name"]] <= most


def test_children_are_created_once_and_nothing_else_is_written(
    ended: tuple[Cluster, str, list[Document]],
) -> None:
    plane, namespace, _ = ended
    writes = [event for event in writes_of(plane, OPERATOR) if event.namespace == namespace]

    created = Counter(
        (event.resource, event.name)
        for event in writes
        if event.verb == "create" and event.resource in ("jobs", "configmaps") and event.code == 201
    )
    assert set(created.values()) == {1}
    # a job of which nothing was made has no finish step
    assert 2 * JOBS + FATES["Complete"] <= len(created) <= 3 * JOBS
    assert {(event.verb, event.resource) for event in writes} <= {
        ("create", "configmaps"),
        ("create", "jobs"),
        ("create", "events"),
        ("patch", "events"),
        ("patch", "asyncdiffjobs/status"),
    }
