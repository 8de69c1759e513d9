"""The shared API server behaves like the one that users have."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.cluster import Api, ApiError, Cluster, reference
from support.processes import wait_until

if TYPE_CHECKING:
    from typing import Any


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    return {**reference("v1", "ConfigMap", "settings", namespace), "data": data}


def test_an_object_reads_back_as_it_was_created(cluster: Cluster, namespace: str) -> None:
    cluster.api.create(config_map(namespace, colour="red"))

    assert cluster.api.get(config_map(namespace))["data"] == {"colour": "red"}


def test_a_dry_run_answers_and_stores_nothing(cluster: Cluster, namespace: str) -> None:
    answer = cluster.api.apply(config_map(namespace, colour="red"), dry_run=True)

    assert answer["metadata"]["uid"]
    assert cluster.api.find(config_map(namespace)) is None


def test_an_unknown_field_is_refused_by_name(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError, match='unknown field "datum"') as refused:
        cluster.api.create({**config_map(namespace), "datum": {}})

    assert refused.value.code == 400


def test_a_bad_field_is_named_among_the_causes(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError) as refused:
        cluster.api.create(config_map(namespace, **{"not a key": "x"}))

    assert refused.value.reason == "Invalid"
    assert [field for field, _ in refused.value.causes] == ["data[not a key]"]


def test_two_managers_own_different_fields(cluster: Cluster, namespace: str) -> None:
    cluster.api.apply(config_map(namespace, colour="red"), manager="painter")
    cluster.api.apply(config_map(namespace, size="large"), manager="carpenter")

    with pytest.raises(ApiError, match='conflict with "painter"') as refused:
        cluster.api.apply(config_map(namespace, colour="blue"), manager="carpenter")
    assert refused.value.reason == "Conflict"
    assert cluster.api.get(config_map(namespace))["data"] == {"colour": "red", "size": "large"}

    forced = cluster.api.apply(config_map(namespace, colour="blue"), manager="carpenter", force=True)
    assert forced["data"]["colour"] == "blue"


def test_the_audit_log_tells_writes_from_reads_and_dry_runs(cluster: Cluster, namespace: str) -> None:
    start = cluster.audit.position()
    cluster.api.create(config_map(namespace, colour="red"))
    cluster.api.create(config_map(namespace, colour="red") | {"metadata": {"name": "other"}}, dry_run=True)
    cluster.api.get(config_map(namespace))
    with pytest.raises(ApiError, match="already exists"):
        cluster.api.create(config_map(namespace))

    writes = [event for event in cluster.audit.writes(since=start) if event.namespace == namespace]

    assert [(event.verb, event.resource, event.name, event.code) for event in writes] == [
        ("create", "configmaps", "settings", 201),
        ("create", "configmaps", "settings", 409),
    ]
    assert {event.user for event in writes} == {"admin"}


def test_a_user_may_do_what_rbac_grants_and_no_more(cluster: Cluster, namespace: str) -> None:
    alice = Api(cluster.kubeconfig_for_user("alice"))
    config_maps = reference("v1", "ConfigMap", namespace=namespace)
    assert not alice.may("list", config_maps)

    bind(cluster, namespace, {"kind": "User", "name": "alice"})
    wait_until(lambda: alice.may("list", config_maps), what="the grant to take effect")

    assert alice.items(config_maps) == []
    with pytest.raises(ApiError, match='User "alice" cannot create resource "configmaps"'):
        alice.create(config_map(namespace))


def test_a_service_account_is_known_by_its_token(cluster: Cluster, namespace: str) -> None:
    account = Api(cluster.kubeconfig_for_service_account(namespace, "default"))
    start = cluster.audit.position()

    with pytest.raises(ApiError, match="Forbidden"):
        account.items(reference("v1", "Secret", namespace=namespace))

    user = f"system:serviceaccount:{namespace}:default"
    seen = [
        (event.verb, event.resource, event.code)
        for event in cluster.audit.events(start)
        if event.user == user
    ]
    assert ("list", "secrets", 403) in seen


def test_kubectl_uses_the_kubeconfig(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(config_map(namespace)))
    cluster.kubectl("create", "configmap", "by-hand", f"--namespace={namespace}")

    names = cluster.kubectl("get", "configmaps", f"--namespace={namespace}", "--output=name")
    assert names.split() == ["configmap/by-hand"]


def test_kubectl_says_why_it_failed(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        cluster.kubectl("get", "configmap", "missing", f"--namespace={namespace}")

    assert 'configmaps "missing" not found' in failed.value.stderr


def test_the_official_client_reads_the_kubeconfig(cluster: Cluster, namespace: str) -> None:
    cluster.api.create(config_map(namespace, colour="red"))

    config_maps = cluster.dynamic_client().resources.get(api_version="v1", kind="ConfigMap")

    assert config_maps.get(name="settings", namespace=namespace).data.colour == "red"


def test_pods_are_admitted_without_any_controller(cluster: Cluster, namespace: str) -> None:
    container = {"name": "main", "image": "localhost/none"}
    pod = {**reference("v1", "Pod", "one", namespace), "spec": {"containers": [container]}}

    assert cluster.api.create(pod)["spec"]["serviceAccountName"] == "default"


def bind(cluster: Cluster, namespace: str, subject: dict[str, str]) -> None:
    """Lets somebody read a namespace's ConfigMaps. (`view` is empty: a controller would gather its rules.)"""
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    cluster.api.create({**reference(f"{rbac}/v1", "Role", "reader", namespace), "rules": [rule]})
    role = {"apiGroup": rbac, "kind": "Role", "name": "reader"}
    binding = reference(f"{rbac}/v1", "RoleBinding", "readers", namespace)
    cluster.api.create({**binding, "roleRef": role, "subjects": [subject]})
