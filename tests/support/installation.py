"""An operator installed by Helm on a real node, and a bucket that its pods reach by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster, reference
from support.helm import CHART, Helm
from support.node import HOST, Node, images
from support.s3 import S3Server
from support.tools import HELM, find_programs

SYSTEM = "asyncdiff-system"
S3_NAME = "s3.default.svc.cluster.local"


@dataclass(frozen=True)
class Installation:
    """What the tests work with.

    Attributes:
        node: the node, and the cluster it belongs to.
        s3: the S3 server of the machine, which pods reach as `S3_NAME`.
        helm: Helm, speaking to the cluster.
        system: the operator's namespace.
    """

    node: Node
    s3: S3Server
    helm: Helm
    system: str = SYSTEM

    @property
    def cluster(self) -> Cluster:
        """The control plane."""
        return self.node.cluster


@pytest.fixture(scope="session")
def installation(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator, ready, on the session's node."""
    folder = tmp_path_factory.mktemp("helm")
    helm = Helm(find_programs(HELM)["helm"], folder, node.cluster.kubeconfig)
    with S3Server.start(HOST) as s3:
        for manifest in service_without_pods(s3):
            node.cluster.api.create(manifest)
        install(helm, folder)
        yield Installation(node, s3, helm)


def install(helm: Helm, folder: Path) -> None:
    """Installs the chart with the images that the node has, and waits until it is ready."""
    values = {
        "image": image(images.OPERATOR),
        "runtimeImage": image(images.RUNTIME),
        "settings": {"logFormat": "json", "progressSeconds": 1, "statusSeconds": 1},
    }
    words: list[str | Path] = [
        "asyncdiff",
        CHART,
        f"--namespace={SYSTEM}",
        "--create-namespace",
        "--wait",
        "--timeout=3m",
    ]
    helm.run("install", *words, *helm.values(values))


def image(name: str) -> dict[str, str]:
    """An image as the chart's values say it."""
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "Never"}


def service_without_pods(s3: S3Server) -> list[dict[str, Any]]:
    """A Service whose one endpoint is a server of the machine."""
    service = reference("v1", "Service", "s3", "default")
    addresses = reference("discovery.k8s.io/v1", "EndpointSlice", "s3", "default")
    port = {"name": "http", "port": s3.port, "protocol": "TCP"}
    labels = {"kubernetes.io/service-name": "s3"}
    return [
        {**service, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": s3.port}]}},
        {
            **addresses,
            "metadata": {**addresses["metadata"], "labels": labels},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [s3.host], "conditions": {"ready": True}}],
        },
    ]
