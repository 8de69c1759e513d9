"""The chart on a real API server: accepted, installed, upgraded, rolled back, removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import Cluster, reference
from support.helm import CHART, EVERYTHING, FOREIGN, Helm
from support.jobs import job
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM = "asyncdiff-system"
DEPLOYMENT = reference("apps/v1", "Deployment", "asyncdiff-operator", SYSTEM)
CRD = reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "asyncdiffjobs.asyncdiff.dev")


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_api_server_accepts_all_that_the_chart_makes(
    helm: Helm, cluster: Cluster, values: dict[str, Any]
) -> None:
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    namespaces = {SYSTEM, "team-a", "team-b"}
    for name in namespaces:
        namespace = reference("v1", "Namespace", name)
        cluster.api.apply({**namespace, "metadata": {"name": name, "labels": restricted}}, force=True)
        cluster.api.apply(reference("v1", "ServiceAccount", "default", name), force=True)

    for made in helm.render(values):
        if made["kind"] not in FOREIGN:
            cluster.api.apply(made, dry_run=True, force=True)


def test_a_release_is_installed_upgraded_rolled_back_and_removed_without_losing_a_job(
    helm: Helm, new_cluster: Callable[[], Cluster]
) -> None:
    cluster = new_cluster()
    helm = replace(helm, kubeconfig=cluster.kubeconfig)
    common: list[str | Path] = ["asyncdiff", CHART, f"--namespace={SYSTEM}", "--create-namespace"]

    notes = helm.run("install", *common, *helm.values({"settings": {"workers": 2}}))
    wait_until(lambda: is_served(cluster), what="the new resource to be served")
    cluster.api.create(job())
    helm.run("upgrade", *common, *helm.values({"settings": {"workers": 5}, "replicas": 3}))
    upgraded = cluster.api.get(DEPLOYMENT)["spec"]
    helm.run("rollback", "asyncdiff", "1", f"--namespace={SYSTEM}")
    rolled_back = cluster.api.get(DEPLOYMENT)["spec"]
    helm.run("uninstall", "asyncdiff", f"--namespace={SYSTEM}")

    assert "rollout status deployment/asyncdiff-operator" in notes
    assert (upgraded["replicas"], workers_of(upgraded)) == (3, "5")
    assert (rolled_back["replicas"], workers_of(rolled_back)) == (2, "2")
    assert cluster.api.find(DEPLOYMENT) is None
    assert cluster.api.find(CRD) is not None
    assert cluster.api.find(job()) is not None


def is_served(cluster: Cluster) -> bool:
    conditions = cluster.api.get(CRD).get("status", {}).get("conditions", ())
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def workers_of(deployment: dict[str, Any]) -> str:
    (container,) = deployment["template"]["spec"]["containers"]
    (found,) = [each["value"] for each in container["env"] if each["name"] == "ASYNCDIFF_WORKERS"]
    return str(found)
