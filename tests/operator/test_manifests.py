"""The kustomizations make what a real API server takes, with no right and no opening more than is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from asyncdiff_operator.options import read_options
from support.admission import install_crd
from support.cluster import Api, ApiError, Cluster, reference
from support.processes import wait_until
from support.repository import ROOT

Document = dict[str, Any]

MANIFESTS = ROOT / "manifests"
NAMESPACE = "asyncdiff-system"
INSTALLATIONS = [".", "namespaced"]
DISPATCHED = "apiserver_flowcontrol_dispatched_requests_total{"
FOLDERS = [*INSTALLATIONS, "served-namespace", "pod-network-policy"]


def built(cluster: Cluster, folder: str) -> list[Document]:
    """What kubectl makes of a kustomization."""
    text = cluster.kubectl("kustomize", str(MANIFESTS / folder))
    return list(yaml.safe_load_all(text))


def only(documents: list[Document], kind: str) -> Document:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def test_every_kustomization_is_tested() -> None:
    folders = {path.parent.relative_to(MANIFESTS) for path in MANIFESTS.rglob("kustomization.yaml")}
    parts = {Path("crd"), Path("operator"), Path("cluster-wide")}
    assert folders - parts == set(map(Path, FOLDERS))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_server_takes_a_kustomization_as_it_is(cluster: Cluster, namespace: str, folder: str) -> None:
    install_crd(cluster.api)
    cluster.api.apply(reference("v1", "Namespace", NAMESPACE))

    applied = cluster.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"),
        *(() if folder in INSTALLATIONS else ("--namespace", namespace)),
        *("--kustomize", str(MANIFESTS / folder)),
    )

    assert applied.count("serverside-applied (server dry run)") == len(built(cluster, folder))


def test_the_operators_pod_is_restricted(cluster: Cluster) -> None:
    documents = built(cluster, "operator")
    space = cluster.namespace("restricted")
    labels = only(documents, "Namespace")["metadata"]["labels"]
    cluster.api.patch(reference("v1", "Namespace", space), {"metadata": {"labels": labels}})
    cluster.api.create(reference("v1", "ServiceAccount", "asyncdiff-operator", space))
    template = only(documents, "Deployment")["spec"]["template"]

    # the API server refuses a pod that is not
    metadata = {**template["metadata"], "name": "operator", "namespace": space}
    cluster.api.create({**reference("v1", "Pod"), **template, "metadata": metadata})


@pytest.mark.parametrize("folder", INSTALLATIONS)
def test_the_operator_takes_the_options_that_it_is_given(
    cluster: Cluster, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = built(cluster, folder)
    (container,) = only(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    config = only(documents, "ConfigMap")
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], "some-name")

    options = read_options([])

    assert options.image == "registry.example/asyncdiff-runtime:0.1.0"
    assert options.namespaces == (("team-a", "team-b") if folder == "namespaced" else ())
    assert (options.identity, options.lease_namespace) == ("some-name", "some-name")
    assert [port["containerPort"] for port in container["ports"]] == [options.port]


def test_a_kustomization_as_the_docs_show_it_says_which_images_run(cluster: Cluster, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    example = yaml.safe_load(page.partition("```yaml\n# kustomization.yaml\n")[2].partition("```")[0])
    example["resources"] = [os.path.relpath(MANIFESTS, tmp_path.resolve())]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(example))

    documents = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(tmp_path))))

    (container,) = only(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    config = only(documents, "ConfigMap")
    assert container["image"] == "registry.example/asyncdiff-operator:0.1.0"
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert config["data"] == {"ASYNCDIFF_IMAGE": "registry.example/asyncdiff-runtime:0.1.0"}


def test_the_lease_that_may_be_written_is_the_one_that_is_used(cluster: Cluster) -> None:
    rules = only(built(cluster, "."), "Role")["rules"]
    assert [rule.get("resourceNames") for rule in rules] == [None, [read_options(["--image=x"]).lease_name]]


def test_the_lease_has_a_share_of_the_api_server_that_other_requests_do_not_take(cluster: Cluster) -> None:
    schema = only(built(cluster, "cluster-wide"), "FlowSchema")
    name = schema["metadata"]["name"]
    cluster.api.apply(reference("v1", "Namespace", NAMESPACE))
    cluster.api.apply(reference("v1", "ServiceAccount", "asyncdiff-operator", NAMESPACE))
    cluster.api.apply(schema)
    operator = Api(cluster.kubeconfig_for_service_account(NAMESPACE, "asyncdiff-operator"))
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"

    def counted(*requests: str) -> float:
        """How many of these requests, which are forbidden, went the way of leader elections."""
        before = dispatched(cluster, name)
        for path in requests:
            with pytest.raises(ApiError, match="403"):
                operator.request("GET", path)
        return dispatched(cluster, name) - before

    wait_until(
        lambda: counted(f"{leases}/asyncdiff-operator") == 1, what=f"{name} to be followed", seconds=90
    )
    assert counted(f"{leases}/a", leases, f"{leases}/b", "/api/v1/namespaces/default/configmaps/c") == 2
    cluster.api.delete(schema)


def dispatched(cluster: Cluster, flow_schema: str) -> float:
    """How many requests of a FlowSchema the API server has served as those of leader elections."""
    page = cluster.api.request("GET", "/metrics")["message"]
    lines = [line for line in page.splitlines() if line.startswith(DISPATCHED)]
    own = [line for line in lines if f'"{flow_schema}"' in line and '"leader-election"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in own)


def test_a_namespaced_operator_has_no_right_beyond_its_namespaces(cluster: Cluster) -> None:
    documents = built(cluster, "namespaced")
    assert "ClusterRoleBinding" not in {document["kind"] for document in documents}


def test_both_installations_may_do_the_same_to_jobs(cluster: Cluster) -> None:
    wide = [d for d in built(cluster, ".") if d["kind"] == "ClusterRole"]
    (operators,) = (role for role in wide if role["metadata"]["name"] == "asyncdiff-operator")
    assert operators["rules"] == only(built(cluster, "served-namespace"), "Role")["rules"]


def test_selectors_of_the_network_policy_are_as_written(cluster: Cluster) -> None:
    """A kustomization that puts labels into selectors puts them into those of other people's pods too."""
    egress = only(built(cluster, "operator"), "NetworkPolicy")["spec"]["egress"]
    assert egress[0]["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("view", ["get", "list", "watch"], ["create", "delete", "patch"]),
        ("edit", ["get", "create", "patch", "delete"], []),
        ("admin", ["get", "create", "patch", "delete"], []),
    ],
)
def test_kubernetes_own_roles_cover_jobs(
    control_plane: Cluster, role: str, may: list[str], may_not: list[str]
) -> None:
    install_crd(control_plane.api)
    for document in built(control_plane, "operator"):
        if document["kind"] == "ClusterRole":
            control_plane.api.apply(document)
    space = control_plane.namespace()
    binding = {
        **reference("rbac.authorization.k8s.io/v1", "RoleBinding", role, space),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"{role}er"}],
    }
    control_plane.api.create(binding)
    target = reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", "posters", space)
    person = Api(control_plane.kubeconfig_for_user(f"{role}er"))

    wait_until(
        lambda: all(person.may(verb, target) for verb in may), what=f"the role {role} to be aggregated"
    )

    assert not any(person.may(verb, target) for verb in may_not)
