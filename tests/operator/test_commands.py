"""What people with only a kubeconfig see: status, submit and logs against a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_operator.commands.cluster import JobNotFoundError, connect
from asyncdiff_operator.names import INDEX_ANNOTATION, STEP_LABEL, Step, labels_of
from support.admission import install_crd
from support.cluster import Cluster, reference
from support.command import run
from support.jobs import job
from support.kubelet import (
    Await,
    Exit,
    Gate,
    Kubelet,
    Node,
    Print,
    Say,
    Script,
    Start,
    counts,
    kubelet,
    shard_of,
    shard_result,
)
from support.processes import wait_until

Document = dict[str, Any]
Manifest = Mapping[str, Any]

NOW = datetime.now(UTC)
WORK = {
    "phase": "Running",
    "startTime": f"{NOW - timedelta(minutes=3):%Y-%m-%dT%H:%M:%SZ}",
    "estimatedCompletionTime": f"{NOW + timedelta(minutes=5, seconds=30):%Y-%m-%dT%H:%M:%SZ}",
    "items": {"total": 64, "done": 40, "failed": 1, "running": 8},
    "shards": {"total": 4, "succeeded": 2, "running": 2, "failed": 0},
    "throughput": {"itemsPerSecond": 2.0, "speedup": 3.5, "secondsPerItem": {"p50": 1.0, "p95": 1.5}},
    "plan": {"strategy": "Lookahead", "stages": 2, "dataParallel": 2, "reason": "named by the job"},
    "output": {"uri": "s3://renders/posters/"},
}


@pytest.fixture(scope="module")
def nodes(cluster: Cluster) -> Iterator[Kubelet]:
    install_crd(cluster.api)
    with kubelet(cluster, Node(name="commands")) as running:
        yield running


@pytest.fixture(autouse=True)
def _kubeconfig(cluster: Cluster, nodes: Kubelet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))


def condition(kind: str, status: str, reason: Reason, message: str = "") -> Document:
    when = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": when}


COMPLETE = condition("Complete", "True", Reason.ALL_ITEMS_DONE, "64 items are done.")
FAILED = condition("Failed", "True", Reason.MODEL_UNAVAILABLE, "the model is gated")


def write_status(cluster: Cluster, stored: Manifest, status: Document) -> None:
    cluster.api.patch(stored, {"status": status}, subresource="status")


def created(cluster: Cluster, namespace: str, status: Document | None = None) -> Document:
    document = job()
    stored = cluster.api.create({**document, "metadata": {"name": "posters", "namespace": namespace}})
    if status is not None:
        write_status(cluster, stored, status)
    return stored


def pod(cluster: Cluster, stored: Manifest, name: str, shard: int | None) -> Document:
    step = Step.FINISH if shard is None else Step.SHARDS
    metadata = {
        "name": name,
        "namespace": stored["metadata"]["namespace"],
        "labels": {**labels_of(stored), STEP_LABEL: step},
        "annotations": {} if shard is None else {INDEX_ANNOTATION: str(shard)},
    }
    container = {"name": "runtime", "image": "registry.example/runtime:1"}
    spec = {"nodeName": "commands", "restartPolicy": "Never", "containers": [container]}
    return cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def wait_for_phase(cluster: Cluster, document: Manifest, phase: str) -> None:
    wait_until(lambda: cluster.api.get(document)["status"]["phase"] == phase, what=f"a pod to be {phase}")


def test_status_says_where_a_job_stands(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, WORK)

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
    created(cluster, namespace, {**WORK, "phase": "Failed", "conditions": [FAILED]})

    done = run("status", "posters", "-n", namespace)

    assert done.exit_code == 1
    assert "ModelUnavailable: the model is gated" in done.output
    assert "accept the model's terms, or set model.tokenSecret" in done.output


def test_what_hinders_a_running_job_is_shown_and_what_does_not_is_not(
    cluster: Cluster, namespace: str
) -> None:
    stuck = condition("Degraded", "True", Reason.POD_STUCK_TERMINATING, "posters-0 is on a dead node")
    fine = condition("Accepted", "True", Reason.VALID)
    created(cluster, namespace, {**WORK, "conditions": [fine, stuck]})

    done = run("status", "posters", "-n", namespace)

    assert "PodStuckTerminating: posters-0 is on a dead node" in done.output
    assert "kubectl delete pod --force" in done.output
    assert "Valid" not in done.output


def test_a_reason_of_a_newer_operator_is_shown_without_a_remedy(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, {**WORK, "conditions": [{**FAILED, "reason": "SunWentOut"}]})

    assert "SunWentOut: the model is gated" in run("status", "posters", "-n", namespace).output


def test_status_lists_pods_with_their_last_words(cluster: Cluster, nodes: Kubelet, namespace: str) -> None:
    def script(one: Manifest) -> Script:
        ends = shard_of(one)
        said = shard_result(one, 4, counts(16, 10 + ends), message="as asked")
        return Script((Start(), Say(said), *((Exit(0),) if ends else ())))

    nodes.behave(namespace, script)
    stored = created(cluster, namespace, WORK)
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
    stored = created(cluster, namespace, WORK)
    about = {key: stored["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        **reference("v1", "Event", "posters.1", namespace),
        "involvedObject": {"apiVersion": stored["apiVersion"], "kind": stored["kind"], **about},
        "type": "Warning",
        "reason": "ShardsRetrying",
        "message": "shard 3 runs again",
        "lastTimestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        "count": 3,
    }
    cluster.api.create(event)

    assert "shard 3 runs again (× 3)" in run("status", "posters", "-n", namespace).output


def test_json_has_the_status_as_stored_and_the_pods(cluster: Cluster, nodes: Kubelet, namespace: str) -> None:
    nodes.behave(namespace, lambda one: Script((Start(), Say(shard_result(one, 4, counts(2, 2))), Exit(0))))
    stored = created(cluster, namespace, WORK)
    wait_for_phase(cluster, pod(cluster, stored, "posters-2", 2), "Succeeded")

    found = json.loads(run("status", "posters", "-n", namespace, "--json").output)

    assert found["status"].items() >= WORK.items()
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
    created(cluster, namespace, WORK)

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


def job_file(folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    (folder / "job.yaml").write_text(json.dumps(job(changes)))
    return folder / "job.yaml"


def test_submit_creates_the_job(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    done = run("submit", str(job_file(tmp_path)), "-n", namespace)

    assert done.exit_code == 0
    assert f"posters created in namespace {namespace}" in done.stderr
    (stored,) = cluster.api.items(reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", namespace=namespace))
    assert stored["spec"]["generate"]["prompts"] == ["a fox in the snow"]


def test_submitting_the_same_job_again_is_as_good(namespace: str, tmp_path: Path) -> None:
    run("submit", str(job_file(tmp_path)), "-n", namespace)

    again = run("submit", str(job_file(tmp_path)), "-n", namespace)

    assert again.exit_code == 0
    assert "posters exists already" in again.stderr


def test_another_job_of_the_same_name_is_refused(namespace: str, tmp_path: Path) -> None:
    run("submit", str(job_file(tmp_path)), "-n", namespace)

    again = run("submit", str(job_file(tmp_path, {"spec.generate.steps": 7})), "-n", namespace)

    assert again.exit_code == 64
    assert "with another spec" in again.stderr


def test_a_wrong_file_is_refused_before_any_cluster_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    done = run("submit", str(job_file(tmp_path, {"spec.generate.step": 7})))

    assert done.exit_code == 64
    assert "job.yaml:1:" in done.stderr
    assert "Did you mean steps?" in done.stderr


@pytest.mark.parametrize(("end", "code"), [(COMPLETE, 0), (FAILED, 1)])
def test_waiting_shows_progress_and_ends_as_the_job_does(
    cluster: Cluster, namespace: str, tmp_path: Path, end: Document, code: int
) -> None:
    waiting = start("submit", str(job_file(tmp_path)), "--wait", "-n", namespace)
    stored = wait_until(lambda: cluster.api.find(posters(namespace)), what="the job")
    write_status(cluster, stored, WORK)
    read_until(waiting, "Running: 40 of 64 items done, 1 failed, 8 in work")
    write_status(cluster, stored, {**WORK, "phase": end["type"], "conditions": [end]})

    output, _ = waiting.communicate(timeout=60)

    assert waiting.returncode == code
    assert end["reason"] in output


def test_who_stops_waiting_leaves_the_job_running_and_is_told_how_to_look_again(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    waiting = start("submit", str(job_file(tmp_path)), "--wait", "-n", namespace)
    read_until(waiting, "Pending")

    waiting.send_signal(2)
    _, errors = waiting.communicate(timeout=60)

    assert waiting.returncode == 130
    assert f"asyncdiff status posters --namespace {namespace} --watch" in errors
    assert cluster.api.find(posters(namespace)) is not None


def test_a_job_that_is_deleted_while_one_waits_is_said_to_be(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    waiting = start("submit", str(job_file(tmp_path)), "--wait", "-n", namespace)
    read_until(waiting, "Pending")
    cluster.api.delete(posters(namespace))

    _, errors = waiting.communicate(timeout=60)

    assert waiting.returncode == 64
    assert "posters was deleted before it ended" in errors


def test_logs_are_those_of_the_newest_pod_of_each_shard(
    cluster: Cluster, nodes: Kubelet, namespace: str
) -> None:
    nodes.behave(namespace, lambda one: Script((Start(), Print(f"I am {one['metadata']['name']}"), Exit(0))))
    stored = created(cluster, namespace, WORK)
    for name, shard in (("a", 0), ("b", 0), ("c", 1), ("d", None)):
        wait_for_phase(cluster, pod(cluster, stored, name, shard), "Succeeded")

    assert run("logs", "posters", "-n", namespace).output == "shard 0 | I am b\nshard 1 | I am c\n"
    assert run("logs", "posters", "-n", namespace, "--shard", "0").output == "I am b\n"
    assert run("logs", "posters", "-n", namespace, "--shard", "0", "--previous").output == "I am a\n"
    assert run("logs", "posters", "-n", namespace, "--finish").output == "I am d\n"
    assert "there is no shard 9" in run("logs", "posters", "-n", namespace, "--shard", "9").stderr


def test_logs_can_be_followed_into_the_next_pod_of_a_shard(
    cluster: Cluster, nodes: Kubelet, namespace: str
) -> None:
    gate = Gate()
    nodes.behave(
        namespace,
        lambda one: Script(
            (Start(), Print(f"{one['metadata']['name']} begins"), Await(gate), Print("and ends"), Exit(0))
        ),
    )
    stored = created(cluster, namespace, WORK)
    wait_for_phase(cluster, pod(cluster, stored, "first", 0), "Running")
    following = start("logs", "posters", "-n", namespace, "--follow", errors=subprocess.DEVNULL)
    lines = following.stdout
    assert lines is not None
    assert lines.readline() == "shard 0 | first begins\n"

    gate.open()
    wait_for_phase(cluster, pod(cluster, stored, "second", 0), "Succeeded")
    wait_until(lambda: lines.readline() == "shard 0 | second begins\n", what="the second pod")
    write_status(cluster, stored, {**WORK, "conditions": [COMPLETE]})

    assert following.wait(timeout=60) == 0
    following.communicate()


def posters(namespace: str) -> Document:
    return reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", "posters", namespace)


def start(*arguments: str, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Runs `asyncdiff` as a process of its own, which can be interrupted."""
    return subprocess.Popen(
        [sys.executable, "-m", "asyncdiff_runtime.cli", *arguments],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def read_until(process: subprocess.Popen[str], beginning: str) -> None:
    """Reads what a process says on standard error up to a line."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return
    raise AssertionError(f"the process ended before it said {beginning!r}")
