"""The chart as an administrator meets it: values, their schema, and what they make."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import yaml
from asyncdiff_operator.options import Options, describe_options, read_options
from support.helm import CHART, EVERYTHING, Helm, HelmError

REPOSITORY = CHART.parents[1]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def environment_of(objects: list[dict[str, Any]]) -> dict[str, str]:
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_chart_passes_the_strict_linter(helm: Helm, values: dict[str, Any]) -> None:
    helm.run("lint", "--strict", CHART, *helm.values(values))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 1}, "replica"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"settings": {"worker": 3}}, "worker"),
        ({"settings": {"progress": "podIp"}}, "/settings/progress"),
        ({"replicas": -1}, "/replicas"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(
    helm: Helm, values: dict[str, Any], named: str
) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.render(values)
    assert named in str(refusal.value)


def test_every_setting_of_the_operator_can_be_said_and_is_understood_by_it(helm: Helm) -> None:
    said: dict[str, Any] = {
        "fsGroup": "none",
        "podEnvironment": {"NO_PROXY": "10.0.0.0/8,.svc", "HF_ENDPOINT": "https://hub.example"},
        "caConfigMap": "trusted",
        "inputHosts": ["pictures.example"],
        "allowedImages": ["a/*", "b/*"],
        "allowedServiceAccounts": [],
        "allowedSecrets": ["keys"],
        "progress": "off",
        "progressSeconds": 7.5,
        "statusSeconds": 6,
        "workers": 3,
        "resyncSeconds": 100000,
        "requestSeconds": 4,
        "leaseName": "other",
        "leaseSeconds": 20,
        "drainSeconds": 5,
        "logFormat": "text",
        "logLevel": "debug",
    }
    schema_names = {option.name for option in describe_options()}
    objects = helm.render({"settings": said, "namespaces": ["team-a", "team-b"]})
    told = environment_of(objects)

    options = read_options([], told)

    expected = Options(
        image="ghcr.io/asyncdiff/asyncdiff-runtime:0.1.0",
        fs_group=None,
        pod_environment={"NO_PROXY": "10.0.0.0/8,.svc", "HF_ENDPOINT": "https://hub.example"},
        ca_config_map="trusted",
        input_hosts=("pictures.example",),
        allowed_images=("a/*", "b/*"),
        allowed_service_accounts=(),
        allowed_secrets=("keys",),
        namespaces=("team-a", "team-b"),
        progress="off",
        progress_seconds=7.5,
        status_seconds=6.0,
        workers=3,
        resync_seconds=100000.0,
        request_seconds=4.0,
        lease_name="other",
        lease_seconds=20.0,
        drain_seconds=5.0,
        log_format=options.log_format,
        log_level="debug",
    )
    assert options == expected
    unsaid = {"image_pull_policy", "kubeconfig", "identity", "address", "port", "lease_namespace"}
    changed = {field.name for field in fields(Options) if getattr(options, field.name) != field.default}
    assert changed | unsaid == schema_names


def test_namespaces_bring_rights_in_these_alone(helm: Helm) -> None:
    everywhere, limited = helm.render(), helm.render({"namespaces": ["team-a", "team-b"]})

    name = "asyncdiff-operator"
    assert name not in {role["metadata"]["name"] for role in of_kind(limited, "ClusterRole")}
    (cluster_role,) = [
        role for role in of_kind(everywhere, "ClusterRole") if role["metadata"]["name"] == name
    ]
    roles = {
        role["metadata"]["namespace"]: role["rules"]
        for role in of_kind(limited, "Role")
        if role["metadata"]["name"] == name
    }
    assert roles == {"team-a": cluster_role["rules"], "team-b": cluster_role["rules"]}


def test_the_chart_grants_what_the_manifests_grant(helm: Helm) -> None:
    granted = yaml.safe_load((REPOSITORY / "manifests/cluster-wide/cluster-role.yaml").read_text())["rules"]

    rules = {role["metadata"]["name"]: role["rules"] for role in of_kind(helm.render(), "ClusterRole")}
    through_the_api_server = helm.render({"settings": {"progress": "proxy"}})

    assert rules["asyncdiff-operator"] == granted
    (proxying,) = [
        role["rules"]
        for role in of_kind(through_the_api_server, "ClusterRole")
        if role["metadata"]["name"] == "asyncdiff-operator"
    ]
    assert [rule for rule in proxying if rule not in granted] == [
        {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}
    ]


def test_the_chart_keeps_room_for_the_lease_as_the_manifests_do_where_the_cluster_has_it(helm: Helm) -> None:
    stated = yaml.safe_load((REPOSITORY / "manifests/cluster-wide/flow-schema.yaml").read_text())

    (made,) = of_kind(helm.render(), "FlowSchema")

    assert made["spec"] == stated["spec"]
    assert made["metadata"]["name"] == stated["metadata"]["name"]
    assert not of_kind(helm.render({"flowSchema": {"enabled": False}}), "FlowSchema")


def test_the_resource_definition_outlives_the_release_unless_told_otherwise(helm: Helm) -> None:
    policy = "helm.sh/resource-policy"
    for values, kept in (({}, "keep"), ({"crds": {"keep": False}}, None)):
        (crd,) = of_kind(helm.render(values), "CustomResourceDefinition")
        assert crd["metadata"].get("annotations", {}).get(policy) == kept
    assert not of_kind(helm.render({"crds": {"enabled": False}}), "CustomResourceDefinition")


def test_the_charts_own_test_may_read_metrics_wherever_prometheus_may(helm: Helm) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    objects = helm.render({"networkPolicy": {"metricsFrom": [prometheus]}})

    (policy,) = of_kind(objects, "NetworkPolicy")
    (test,) = of_kind(objects, "Pod")

    first, second = policy["spec"]["ingress"][0]["from"]
    assert first == prometheus
    assert second["podSelector"]["matchLabels"].items() <= test["metadata"]["labels"].items()
