"""What the operator creates is taken by a real API server, under Restricted Pod Security."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.formats.container import JOB_FILE
from asyncdiff_api.validation import load
from asyncdiff_operator.children.config_map import config_map, number_of_shards
from asyncdiff_operator.children.finish_job import finish_job
from asyncdiff_operator.children.shards_job import shards_job
from asyncdiff_operator.names import shards_name
from asyncdiff_operator.settings import Defaults
from support.admission import install_crd, sample
from support.jobs import job, jobs

if TYPE_CHECKING:
    from support.cluster import Api, Cluster

Document = dict[str, Any]

DEFAULTS = Defaults(
    image="registry.example/asyncdiff-runtime@sha256:" + "0" * 64,
    input_hosts=("pictures.example", "*.example.org"),
)
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}

FULL = {
    "metadata.name": "a" * 45,
    "spec.model.tokenSecret": "hub-token",
    "spec.model.adapters": [{"kind": "LoRA", "volume": {"claimName": "loras.of.the-team", "path": "fox"}}],
    "spec.generate.prompts": None,
    "spec.generate.worklist": {"configMap": {"name": "list", "key": "list.jsonl"}},
    "spec.parallelism.gpusPerPod": 4,
    "spec.parallelism.shards": 10_000,
    "spec.output": {"volume": {"claimName": "pictures"}},
    "spec.run": {"activeDeadlineSeconds": 7200, "drainSeconds": 3600, "retriesPerShard": 0},
    "spec.pod": {
        "image": "registry.example/mine:1",
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"requests": {"cpu": 8}, "limits": {"memory": "64Gi"}},
        "nodeSelector": {"topology.kubernetes.io/zone": "a"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {}},
        "labels": {"team": "posters"},
        "annotations": {"karpenter.sh/do-not-disrupt": "false"},
        "modelCacheClaim": "models",
        "env": [
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
    },
}


@pytest.fixture(scope="module")
def restricted(cluster: Cluster) -> str:
    """A namespace that refuses any pod with more rights than it needs."""
    install_crd(cluster.api)
    name = cluster.namespace("restricted")
    cluster.api.patch(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"metadata": {"labels": RESTRICTED}},
    )
    return name


def children(document: Document) -> list[Document]:
    """All children that a stored job may come to have."""
    read = load(document)
    shards, name = number_of_shards(read, None), shards_name(document)
    return [
        dict(config_map(document, read, shards, name)),
        dict(shards_job(document, read, DEFAULTS, shards)),
        dict(
            finish_job(document, read, DEFAULTS, DEFAULTS.image, "shard 3 failed: $(HOME) is no place", name)
        ),
    ]


def pod_of(owner: Document) -> Document:
    """The pod that a Job would make; Pod Security judges pods, and only warns of templates."""
    template = owner["spec"]["template"]
    name = {"name": "pod", "namespace": owner["metadata"]["namespace"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], **name},
        "spec": template["spec"],
    }


def store(api: Api, namespace: str, document: Document) -> Document:
    return api.create({**document, "metadata": {**document["metadata"], "namespace": namespace}})


@pytest.mark.parametrize("changes", [{}, FULL], ids=["the plainest job", "a job with everything"])
def test_children_are_accepted_where_pods_may_do_nothing(
    cluster: Cluster, restricted: str, changes: dict[str, Any]
) -> None:
    config, shards, finish = children(store(cluster.api, restricted, job(changes)))
    for manifest in (config, shards, finish, pod_of(finish)):
        cluster.api.create(manifest, dry_run=True)
    pod = pod_of(shards)
    if "priorityClassName" not in pod["spec"]:
        cluster.api.create(pod, dry_run=True)


def test_any_valid_job_has_children_that_the_api_server_accepts(cluster: Cluster, namespace: str) -> None:
    install_crd(cluster.api)
    refused = []
    for number, document in enumerate(sample(jobs(), 40, start=7)):
        # what these hold is handed on as it is, and drawn here without sense
        for part in ("affinity", "env", "resources"):
            document["spec"].get("pod", {}).pop(part, None)
        document["metadata"]["name"] = f"drawn-{number}"
        stored = store(cluster.api, namespace, document)
        for manifest in children(stored):
            try:
                cluster.api.create(manifest, dry_run=True)
            except Exception as error:  # noqa: BLE001 -- shown with the document that it belongs to
                refused.append((str(error), document["spec"]))
    assert refused == []


def test_pods_read_the_job_as_it_was_stored_with_the_shards_filled_in(
    cluster: Cluster, restricted: str
) -> None:
    stored = store(cluster.api, restricted, job({"metadata.name": "read", "spec.parallelism.pods": 3}))
    config, shards, _ = children(stored)
    document = json.loads(config["data"][JOB_FILE])
    assert load(document).spec.model_dump(exclude={"parallelism"}) == load(stored).spec.model_dump(
        exclude={"parallelism"}
    )
    assert document["spec"]["parallelism"]["shards"] == shards["spec"]["completions"] == 1
    assert document["metadata"]["uid"] == stored["metadata"]["uid"]
    assert "managedFields" not in document["metadata"]
    assert number_of_shards(load(stored), config) == 1


def test_names_are_short_enough_for_the_host_names_of_pods() -> None:
    document = job({"metadata.name": "a" * 45})
    document["metadata"] |= {"uid": "0" * 36, "namespace": "n"}
    for manifest, rest in zip(children(document), (0, len("-9999"), 0), strict=True):
        assert len(manifest["metadata"]["name"]) + rest <= 63


def test_a_pod_that_is_drained_has_longer_than_its_drain_before_it_is_killed() -> None:
    document = job({"spec.run": {"drainSeconds": 100}})
    document["metadata"] |= {"uid": "0" * 36, "namespace": "n"}
    for owner in children(document)[1:]:
        assert owner["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 115


def test_a_failure_is_told_to_the_finish_step_word_for_word() -> None:
    document = job()
    document["metadata"] |= {"uid": "0" * 36, "namespace": "n"}
    finish = children(document)[2]
    variables = finish["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {variable["name"]: variable.get("value") for variable in variables}["ASYNCDIFF_FAILURE"]
    assert told == "shard 3 failed: $$(HOME) is no place", (
        "Kubernetes reads $$ as $, and $(HOME) as a variable"
    )


def test_own_variables_give_way_to_the_persons_and_no_name_is_set_twice() -> None:
    document = job({"spec.pod": {"env": [{"name": "HF_HOME", "value": "/mnt/asyncdiff/models"}]}})
    document["metadata"] |= {"uid": "0" * 36, "namespace": "n"}
    variables = children(document)[1]["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names))
    assert {"name": "HF_HOME", "value": "/mnt/asyncdiff/models"} in variables


@pytest.mark.parametrize(("queue", "suspend"), [("", False), ("", True), ("gpus", False)])
def test_a_job_with_a_queue_waits_for_it_and_others_start_unless_they_are_suspended(
    queue: str, suspend: bool
) -> None:
    document = job({"spec.run": {"queueName": queue, "suspend": suspend}})
    document["metadata"] |= {"uid": "0" * 36, "namespace": "n"}
    shards = children(document)[1]
    assert shards["spec"]["suspend"] == bool(queue or suspend)
    assert shards["metadata"]["labels"].get("kueue.x-k8s.io/queue-name", "") == queue
