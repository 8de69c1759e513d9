"""What `asyncdiff status` says of a job in a real API server to people with only a kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_operator.commands.cluster import JobNotFoundError, connect
from support.admission import install_crd
from support.cluster import Cluster, reference
from support.command import run
from support.kubelet import (
    Exit,
    Kubelet,
    Node,
    Say,
    Script,
    Start,
    counts,
    kubelet,
    shard_of,
    shard_result,
)
from support.posters import (
    FAILED,
    NODE,
    condition,
    created,
    moment,
    pod,
    wait_for_phase,
    work,
)

Document = dict[str, Any]
Manifest = Mapping[str, Any]


@pytest.fixture(scope="module")
def nodes(cluster: Cluster) -> Iterator[Kubelet]:
    install_crd(cluster.api)
    with kubelet(cluster, Node(name=NODE)) as running:
        yield running


@pytest.fixture(autouse=True)
def _kubeconfig(cluster: Cluster, nodes: Kubelet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))


def test_status_says_where_a_job_stands(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, work())

    done = run("status", "posters", "-n", namespace)

    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.output.splitlines()]
    assert lines[0].startswith(f"{namespace}/posters  Running  for 3 min")
    assert lines[1:4] == [
        "items      40 of 64 items done, 1 failed, 8 in work",
        "shards     2 of 4 shards done, 2 in work",
        "speed      2 items/s, 3.5 × one GPU; an item takes 1 s, one in twenty more than 1.5 s",
    ]
    assert lines[4].startswith("ready      in about 5 min")
    assert "plan       Lookahead, 2 ranks a sample, 2 samples at once (named by the job)" in lines
    assert "output     s3://renders/posters/" in lines


def test_a_job_that_the_operator_has_not_seen_is_pending(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace)

    done = run("status", "posters", "-n", namespace)

    assert done.exit_code == 0
    assert f"{namespace}/posters  Pending" in done.output
    assert "items      not counted yet" in done.output


def test_a_failed_job_says_why_and_what_to_do_and_ends_with_1(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, {**work(), "phase": "Failed", "conditions": [FAILED]})

    done = run("status", "posters", "-n", namespace)

    assert done.exit_code == 1
    assert "ModelUnavailable: the model is gated" in done.output
    assert "accept the model's terms, or set model.tokenSecret" in done.output


def test_what_hinders_a_running_job_is_shown_and_what_does_not_is_not(
    cluster: Cluster, namespace: str
) -> None:
    stuck = condition("Degraded", "True", Reason.POD_STUCK_TERMINATING, "posters-0 is on a dead node")
    fine = condition("Accepted", "True", Reason.VALID)
    created(cluster, namespace, {**work(), "conditions": [fine, stuck]})

    done = run("status", "posters", "-n", namespace)

    assert "PodStuckTerminating: posters-0 is on a dead node" in done.output
    assert "kubectl delete pod --force" in done.output
    assert "Valid" not in done.output


def test_a_remedy_that_ends_a_message_already_is_shown_once(cluster: Cluster, namespace: str) -> None:
    remedy = REASONS[Reason.PODS_CLAMPED].remedy
    clamped = condition("Degraded", "True", Reason.PODS_CLAMPED, f"8 pods are asked for. {remedy}")
    created(cluster, namespace, {**work(), "conditions": [clamped]})

    assert run("status", "posters", "-n", namespace).output.count(remedy) == 1


def test_a_reason_of_a_newer_operator_is_shown_without_a_remedy(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, {**work(), "conditions": [{**FAILED, "reason": "SunWentOut"}]})

    assert "SunWentOut: the model is gated" in run("status", "posters", "-n", namespace).output


def test_status_lists_pods_with_their_last_words(cluster: Cluster, nodes: Kubelet, namespace: str) -> None:
    def script(one: Manifest) -> Script:
        ends = shard_of(one)
        said = shard_result(one, 4, counts(16, 10 + ends), message="as asked")
        return Script((Start(), Say(said), *((Exit(0),) if ends else ())))

    nodes.behave(namespace, script)
    stored = created(cluster, namespace, work())
    wait_for_phase(cluster, pod(cluster, stored, "posters-0", 0), "Running")
    wait_for_phase(cluster, pod(cluster, stored, "posters-1", 1), "Succeeded")

    done = run("status", "posters", "-n", namespace)

    running, ended = (
        next(line for line in done.output.splitlines() if line.startswith(name))
        for name in ("posters-0", "posters-1")
    )
    assert running.split()[1:4] == ["0", "Running", "commands"]
    assert ended.split()[1:4] == ["1", "Completed", "commands"]
    assert "11 of 16 items done; AllItemsDone: as asked" in ended


def test_status_shows_events_of_the_job(cluster: Cluster, namespace: str) -> None:
    stored = created(cluster, namespace, work())
    about = {key: stored["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        **reference("v1", "Event", "posters.1", namespace),
        "involvedObject": {"apiVersion": stored["apiVersion"], "kind": stored["kind"], **about},
        "type": "Warning",
        "reason": "ShardsRetrying",
        "message": "shard 3 runs again",
        "lastTimestamp": moment(),
        "count": 3,
    }
    cluster.api.create(event)

    assert "shard 3 runs again (× 3)" in run("status", "posters", "-n", namespace).output


def test_json_has_the_status_as_stored_and_the_pods(cluster: Cluster, nodes: Kubelet, namespace: str) -> None:
    nodes.behave(namespace, lambda one: Script((Start(), Say(shard_result(one, 4, counts(2, 2))), Exit(0))))
    stored_status = work()
    stored = created(cluster, namespace, stored_status)
    wait_for_phase(cluster, pod(cluster, stored, "posters-2", 2), "Succeeded")

    found = json.loads(run("status", "posters", "-n", namespace, "--json").output)

    assert found["status"].items() >= stored_status.items()
    assert found["pods"][0]["result"]["items"]["done"] == 2
    assert (found["pods"][0]["shard"], found["pods"][0]["exitCode"]) == (2, 0)


def test_the_namespace_is_that_of_the_context_unless_named(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = json.loads(cluster.kubeconfig.read_text())
    config["contexts"].append(
        {"name": "team", "context": {**config["contexts"][0]["context"], "namespace": namespace}}
    )
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    created(cluster, namespace, work())

    assert run("status", "posters", "--context", "team").exit_code == 0
    assert "in namespace default" in run("status", "posters", "-n", "default").stderr


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("name", 'asyncdiffjobs.asyncdiff.dev "postrs" not found'),
        ("near", "Did you mean posters?"),
        ("context", "--context"),
        ("cluster", "no cluster answers at https://127.0.0.1:1"),
        ("person", "Ask for the role view or edit there"),
        ("token", "does not know who you are"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_sentence(
    cluster: Cluster,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    wrong: str,
    says: str,
) -> None:
    created(cluster, namespace)
    config = json.loads(cluster.kubeconfig.read_text())
    if wrong == "cluster":
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    if wrong == "person":
        config = json.loads(cluster.kubeconfig_for_user("mallory").read_text())
    if wrong == "token":
        config["users"][0]["user"] = {"token": "not a token"}
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    more = ("--context", "nowhere") if wrong == "context" else ()
    done = run("status", "postrs", "-n", namespace, *more)

    assert done.exit_code != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_without_the_resource_definition_is_told_from_one_without_the_job() -> None:
    with pytest.raises(JobNotFoundError, match="its resource definition is not installed"):
        connect(None, "default").read("/apis/none.dev/v1/namespaces/default/things/a", "read a thing")
