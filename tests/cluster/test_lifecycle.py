"""Clusters start, live side by side, survive faults, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from support.cluster import Api, Cluster, ClusterError, reference
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[1]


def config_map(name: str) -> dict[str, Any]:
    return reference("v1", "ConfigMap", name, "default")


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder, the supervisor among them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.fixture
def run() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the command that runs a cluster by hand."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "support.cluster", "up"]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, process_group=0)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kubeconfig_of(running: subprocess.Popen[str]) -> Path:
    """The kubeconfig that the command prints once its cluster is up."""
    assert running.stdout is not None
    return Path(running.stdout.readline().removeprefix("export KUBECONFIG=").strip())


def test_a_cluster_comes_up(
    new_cluster: Callable[[], Cluster], record_testsuite_property: Callable[[str, object], None]
) -> None:
    started = time.monotonic()
    cluster = new_cluster()
    record_testsuite_property("seconds until the cluster is up", round(time.monotonic() - started, 2))

    version = cluster.api.request("GET", "/version")
    assert (int(version["major"]), int(version["minor"].rstrip("+"))) >= (1, 31)


def test_two_clusters_run_side_by_side(cluster: Cluster, new_cluster: Callable[[], Cluster]) -> None:
    other = new_cluster()

    other.api.create(config_map("only-here"))

    assert cluster.api.find(config_map("only-here")) is None
    stranger = Api(cluster.kubeconfig)
    stranger.server = other.server
    with pytest.raises(urllib3.exceptions.SSLError, match="certificate verify failed"):
        stranger.request("GET", "/api")


def test_what_was_stored_outlives_a_killed_api_server(new_cluster: Callable[[], Cluster]) -> None:
    cluster = new_cluster()
    cluster.api.create(config_map("kept"))

    cluster.processes.kill("kube-apiserver")
    cluster.processes.kill("etcd")
    cluster.start_etcd()
    cluster.start_api_server()

    assert cluster.api.find(config_map("kept")) is not None


def test_the_api_server_can_hang_and_go_on(new_cluster: Callable[[], Cluster]) -> None:
    cluster = new_cluster()

    cluster.processes.signal("kube-apiserver", signal.SIGSTOP)
    with pytest.raises(subprocess.CalledProcessError, match="kubectl"):
        cluster.kubectl("get", "namespaces", "--request-timeout=300ms")
    cluster.processes.signal("kube-apiserver", signal.SIGCONT)

    assert "default" in cluster.kubectl("get", "namespaces")


def test_a_closed_cluster_leaves_nothing(new_cluster: Callable[[], Cluster]) -> None:
    cluster = new_cluster()
    assert len(processes_in(cluster.folder)) == 3  # etcd, the API server, and what watches over them

    cluster.close()

    assert not cluster.folder.exists()
    wait_until(lambda: not processes_in(cluster.folder), what="the last process to end")


@pytest.mark.parametrize("victim", ["the process alone", "its process group"])
def test_a_killed_test_run_leaves_nothing(run: Callable[[], subprocess.Popen[str]], victim: str) -> None:
    running = run()
    folder = kubeconfig_of(running).parent
    assert len(processes_in(folder)) == 3

    if victim == "its process group":
        os.killpg(running.pid, signal.SIGKILL)
    else:
        running.kill()

    wait_until(lambda: not processes_in(folder), what="the last process to end")
    wait_until(lambda: not folder.exists(), what=f"{folder} to be removed")


def test_a_killed_supervisor_takes_its_processes_along(new_cluster: Callable[[], Cluster]) -> None:
    cluster = new_cluster()
    folder = cluster.folder
    status = Path(f"/proc/{cluster.processes.pid('etcd')}/status").read_text()
    supervisor = int(status.partition("PPid:")[2].split()[0])

    os.kill(supervisor, signal.SIGKILL)

    wait_until(lambda: not processes_in(folder), what="the last process to end")


def test_the_command_runs_a_cluster_until_interrupted(run: Callable[[], subprocess.Popen[str]]) -> None:
    running = run()
    kubeconfig = kubeconfig_of(running)
    assert Api(kubeconfig).find(reference("v1", "Namespace", "default")) is not None

    running.send_signal(signal.SIGINT)

    assert running.wait(timeout=30) == 0
    assert not kubeconfig.parent.exists()


def test_an_api_server_without_controllers_beside_it_says_so(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (tmp_path / name).symlink_to(cluster.binaries[name])
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with Cluster.start() as small, pytest.raises(ClusterError, match="no kube-controller-manager"):
        small.start_controller_manager()
