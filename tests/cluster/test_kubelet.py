"""The kubelet of the tests does to pods what a real one does, as far as the API server can tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from asyncdiff_api.formats.container import FINISH_COMMAND, SHARD_COMMAND
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.formats.result import Result
from support.cluster import Api, Cluster, reference
from support.kubelet import (
    OUT_OF_MEMORY,
    Await,
    CannotMount,
    CannotPull,
    Exit,
    Gate,
    Kubelet,
    Node,
    Print,
    Report,
    Say,
    Script,
    Start,
    all_goes_well,
    counts,
    kubelet,
    progress,
    shard_result,
)
from support.processes import wait_until

Document = dict[str, Any]
Manifest = Mapping[str, Any]

FOREVER = Script((Start(),))


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Cluster, Kubelet]]:
    """A cluster with a node of its own."""
    with Cluster.start_control_plane() as cluster, kubelet(cluster, Node(name="gpu-1", gpus=8)) as running:
        yield cluster, running


@pytest.fixture
def api(nodes: tuple[Cluster, Kubelet]) -> Api:
    return nodes[0].api


@pytest.fixture
def namespace(nodes: tuple[Cluster, Kubelet]) -> str:
    return nodes[0].namespace()


@pytest.fixture
def living(nodes: tuple[Cluster, Kubelet]) -> Kubelet:
    return nodes[1]


def pod(namespace: str, **spec: Any) -> Document:
    container = {
        "name": "runtime",
        "image": "registry.example/runtime:1",
        "command": list(SHARD_COMMAND),
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    whole = {"restartPolicy": "Never", "containers": [container], **spec}
    return {**reference("v1", "Pod", "one", namespace), "spec": whole}


def job(namespace: str, shards: int, command: tuple[str, ...] = SHARD_COMMAND) -> Document:
    container = {"name": "runtime", "image": "registry.example/runtime:1", "command": list(command)}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75]}},
    ]
    spec = {
        "completions": shards,
        "parallelism": shards,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 3,
        "podFailurePolicy": {"rules": rules},
        "template": template,
    }
    return {**reference("batch/v1", "Job", "work", namespace), "spec": spec}


def page(one: Manifest) -> bytes:
    """What the pod serves at `/progress`, read by another process: this one may reach 127.0.0.1 alone."""
    read = f"import urllib.request as r; print(r.urlopen('http://{one['status']['podIP']}:8080/progress').read().decode())"
    return subprocess.run([sys.executable, "-c", read], capture_output=True, check=True).stdout


def phase(api: Api, document: Manifest) -> str:
    return str(api.get(document)["status"]["phase"])


def wait_for_phase(api: Api, document: Manifest, wanted: str) -> Document:
    wait_until(lambda: phase(api, document) == wanted, what=f"the pod to be {wanted}")
    return api.get(document)


def terminated(document: Manifest) -> Document:
    found: Document = document["status"]["containerStatuses"][0]["state"]["terminated"]
    return found


def test_a_job_whose_pods_all_succeed_is_complete(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, all_goes_well(shards=3, items_per_shard=2))
    work = api.create(job(namespace, shards=3))

    wait_until(lambda: api.get(work)["status"].get("succeeded") == 3, what="the job's end")

    pods = api.items(reference("v1", "Pod", namespace=namespace))
    results = [Result.parse(terminated(each)["message"].encode(), "the message") for each in pods]
    assert sorted(result.shard or 0 for result in results) == [0, 1, 2]
    assert all(result.final and result.items.done == 2 for result in results)
    assert pods[0]["status"]["containerStatuses"][0]["imageID"].startswith("registry.example/runtime@sha256:")


def test_the_finish_step_counts_the_whole_job(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, all_goes_well(shards=3, items_per_shard=2))
    api.create(pod(namespace, containers=[{"name": "r", "image": "i", "command": list(FINISH_COMMAND)}]))

    ended = wait_for_phase(api, pod(namespace), "Succeeded")

    assert Result.parse(terminated(ended)["message"].encode(), "the message").items.done == 6


def test_a_running_pod_reports_at_its_own_address(api: Api, living: Kubelet, namespace: str) -> None:
    gate = Gate()
    living.behave(
        namespace,
        lambda one: Script((Report(progress(one, 1, counts(6, 3))), Start(), Await(gate), Exit())),
    )
    api.create(job(namespace, shards=1))
    kind = reference("v1", "Pod", namespace=namespace)

    def running() -> list[Document]:
        return [each for each in api.items(kind) if each["status"]["phase"] == "Running"]

    (one,) = wait_until(running, what="the pod to run")
    assert Progress.receive(page(one), "the pod").items.done == 3

    gate.open()
    wait_until(lambda: api.items(kind)[0]["status"]["phase"] == "Succeeded", what="the pod's end")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        page(one)
    assert b"Connection refused" in refused.value.stderr


@pytest.mark.parametrize(
    ("ends", "code", "reason"),
    [
        (Exit(0), 0, "Completed"),
        (Exit(66), 66, "Error"),
        (OUT_OF_MEMORY, 137, "OOMKilled"),
    ],
)
def test_a_pod_ends_as_its_script_says(
    api: Api, living: Kubelet, namespace: str, ends: Exit, code: int, reason: str
) -> None:
    living.behave(namespace, lambda _: Script((Start(), Say(b"last words"), ends)))
    api.create(pod(namespace))

    ended = wait_for_phase(api, pod(namespace), "Failed" if code else "Succeeded")

    assert (
        terminated(ended).items()
        >= {
            "exitCode": code,
            "reason": reason,
            "message": "last words",
        }.items()
    )


def test_what_a_killed_pod_had_said_is_kept(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, lambda _: Script((Say(b"so far"), Start())))
    api.create(pod(namespace))
    living.kill(wait_for_phase(api, pod(namespace), "Running"))

    ended = wait_for_phase(api, pod(namespace), "Failed")

    assert (terminated(ended)["exitCode"], terminated(ended)["message"]) == (137, "so far")


def test_an_image_that_cannot_be_pulled_is_named(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, lambda _: Script((CannotPull("not found"),)))
    api.create(pod(namespace))

    def waiting() -> Document | None:
        statuses = api.get(pod(namespace))["status"].get("containerStatuses") or [{"state": {}}]
        found: Document | None = statuses[0]["state"].get("waiting")
        return found if found and found["reason"] == "ImagePullBackOff" else None

    assert "registry.example/runtime:1" in wait_until(waiting, what="the kubelet to give up")["message"]
    assert phase(api, pod(namespace)) == "Pending"


def test_a_volume_that_cannot_be_mounted_is_an_event(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, lambda _: Script((CannotMount("secret not found"),)))
    made = api.create(pod(namespace))
    events = reference("v1", "Event", namespace=namespace)
    selector = f"involvedObject.uid={made['metadata']['uid']},reason=FailedMount"

    (event,) = wait_until(lambda: api.items(events, fieldSelector=selector), what="the event")

    assert event["message"] == "secret not found"


def held(namespace: str) -> Document:
    """A pod that stays to be looked at after its end."""
    plain = pod(namespace)
    return {**plain, "metadata": {**plain["metadata"], "finalizers": ["test.dev/look"]}}


def test_a_deleted_pod_drains_and_is_gone(api: Api, living: Kubelet, namespace: str) -> None:
    gate = Gate()
    last_words = (Await(gate), Say(b"drained"), Exit(75))
    living.behave(namespace, lambda _: Script((Start(),), on_termination=last_words))
    api.create(held(namespace))
    wait_for_phase(api, pod(namespace), "Running")
    api.delete(pod(namespace))
    assert phase(api, pod(namespace)) == "Running"

    gate.open()
    ended = wait_for_phase(api, pod(namespace), "Failed")

    assert (terminated(ended)["exitCode"], terminated(ended)["message"]) == (75, "drained")
    api.patch(pod(namespace), {"metadata": {"finalizers": None}})
    wait_until(lambda: api.find(pod(namespace)) is None, what="the pod to go")


def test_a_pod_that_ignores_the_signal_is_killed(api: Api, living: Kubelet, namespace: str) -> None:
    living.behave(namespace, lambda _: Script((Start(),), on_termination=(), grace_seconds=0.1))
    api.create(held(namespace))
    wait_for_phase(api, pod(namespace), "Running")

    api.delete(pod(namespace))

    assert terminated(wait_for_phase(api, pod(namespace), "Failed"))["exitCode"] == 137


def test_pods_of_a_dead_node_stay_terminating(nodes: tuple[Cluster, Kubelet], namespace: str) -> None:
    cluster, living = nodes
    living.add_node(Node(name="doomed", gpus=0))
    living.behave(namespace, lambda _: FOREVER)
    here = {"nodeSelector": {"kubernetes.io/hostname": "doomed"}}
    container = {"name": "runtime", "image": "i"}
    cluster.api.create(pod(namespace, **here, containers=[container]))
    wait_for_phase(cluster.api, pod(namespace), "Running")

    living.node_dies("doomed")
    cluster.api.delete(pod(namespace))

    stuck = cluster.api.get(pod(namespace))
    assert "deletionTimestamp" in stuck["metadata"]
    assert stuck["status"]["phase"] == "Running"

    living.node_is_removed("doomed")
    assert cluster.api.find(pod(namespace)) is None


def test_kubectl_shows_the_log_of_a_pod(nodes: tuple[Cluster, Kubelet], namespace: str) -> None:
    cluster, living = nodes
    living.behave(namespace, lambda _: Script((Start(), Print("loading"), Print("generating"), Exit())))
    cluster.api.create(pod(namespace))
    wait_for_phase(cluster.api, pod(namespace), "Succeeded")

    assert cluster.kubectl("logs", "--namespace", namespace, "one") == "loading\ngenerating\n"
    assert cluster.kubectl("logs", "--namespace", namespace, "one", "--tail=1") == "generating\n"


def test_pods_end_right_across_a_restart_of_the_api_server(
    nodes: tuple[Cluster, Kubelet], namespace: str
) -> None:
    cluster, living = nodes
    gate = Gate()
    living.behave(
        namespace,
        lambda one: Script((Start(), Await(gate), Say(shard_result(one, 20, counts(1, 1))), Exit())),
    )
    work = cluster.api.create(job(namespace, shards=20))
    wait_until(lambda: cluster.api.get(work)["status"].get("ready") == 20, what="twenty pods")

    cluster.processes.kill("kube-apiserver")
    gate.open()
    cluster.start_api_server()

    wait_until(lambda: cluster.api.get(work)["status"].get("succeeded") == 20, what="the job's end")
