"""`asyncdiff submit` and `asyncdiff logs` against a real API server, for people with only a kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
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
    Script,
    Start,
    kubelet,
)
from support.posters import (
    COMPLETE,
    FAILED,
    NODE,
    created,
    pod,
    posters,
    wait_for_phase,
    work,
    write_status,
)
from support.processes import wait_until

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
    assert "it differs in generate.steps." in again.stderr


def test_a_job_that_was_scaled_is_still_the_same_and_the_difference_is_named(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    run("submit", str(job_file(tmp_path)), "-n", namespace)
    cluster.kubectl("scale", "adj", "posters", "--namespace", namespace, "--replicas", "3")

    again = run("submit", str(job_file(tmp_path)), "-n", namespace)

    assert again.exit_code == 0
    assert "posters exists already" in again.stderr
    assert "parallelism.pods is 3 there and 1 in the file" in " ".join(again.stderr.split())


def test_what_was_changed_meanwhile_does_not_hide_what_may_not_change(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    run("submit", str(job_file(tmp_path)), "-n", namespace)
    cluster.api.patch(posters(namespace), {"spec": {"run": {"suspend": True}}})

    again = run("submit", str(job_file(tmp_path, {"spec.generate.prompts": ["an owl"]})), "-n", namespace)

    assert again.exit_code == 64
    assert "it differs in generate.prompts." in again.stderr


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
    write_status(cluster, stored, work())
    read_until(waiting, "Running: 40 of 64 items done, 1 failed, 8 in work")
    write_status(cluster, stored, {**work(), "phase": end["type"], "conditions": [end]})

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
    stored = created(cluster, namespace, work())
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
    stored = created(cluster, namespace, work())
    wait_for_phase(cluster, pod(cluster, stored, "first", 0), "Running")
    following = start("logs", "posters", "-n", namespace, "--follow", errors=subprocess.DEVNULL)
    lines = following.stdout
    assert lines is not None
    assert lines.readline() == "shard 0 | first begins\n"

    gate.open()
    wait_for_phase(cluster, pod(cluster, stored, "second", 0), "Succeeded")
    wait_until(lambda: lines.readline() == "shard 0 | second begins\n", what="the second pod")
    write_status(cluster, stored, {**work(), "conditions": [COMPLETE]})

    assert following.wait(timeout=60) == 0
    following.communicate()


def start(*arguments: str, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Runs `asyncdiff` as a process of its own, which can be interrupted even where the tests cannot.

    A shell starts what is to run in the background with interrupts ignored, and so it is for all that this starts.
    """
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "asyncdiff_runtime.cli", *arguments],
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
