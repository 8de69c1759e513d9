"""What is installed, and how."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cluster import reference
from support.cluster.access import Access
from support.e2e import RESTRICTED
from support.helm import CHART, Helm
from support.node import Node
from support.s3 import S3Server
from support.tools import HELM, find_programs

logger = logging.getLogger(__name__)

SYSTEM = "asyncdiff-system"
RELEASE = "asyncdiff"
OPERATOR, RUNTIME = "asyncdiff-operator:e2e", "asyncdiff-runtime:e2e"
COMMAND = Path(sys.executable).with_name("asyncdiff")


@dataclass(frozen=True)
class Installation:
    """What the tests work with.

    Attributes:
        cluster: the cluster, as its administrator.
        s3: the S3 server of this machine, which pods reach as `s3.default.svc.cluster.local`.
        helm: Helm, speaking to the cluster.
        images: where nodes find the images.
        node: the cluster's node, where it is the tests' own.
        system: the operator's namespace.
    """

    cluster: Access
    s3: S3Server
    helm: Helm
    images: str
    node: Node | None = None
    system: str = SYSTEM

    def install(self) -> None:
        """Installs the chart, into a namespace that enforces the profile `restricted`, and waits until it is ready."""
        namespace = reference("v1", "Namespace", SYSTEM)
        self.cluster.api.create({**namespace, "metadata": {**namespace["metadata"], "labels": RESTRICTED}})
        self._release("install", {})
        logger.info("Helm has installed the operator; two replicas are ready")

    def upgrade(self, **settings: Any) -> None:
        """Changes settings of the operator, by the chart's names, and waits until it is ready again."""
        self._release("upgrade", settings)
        said = ", ".join(f"{name}={value}" for name, value in settings.items())
        logger.info("Helm has upgraded the operator: %s", said)

    def asyncdiff(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line as a person with this kubeconfig does."""
        variables = {"KUBECONFIG": str(self.cluster.kubeconfig), "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(
            [str(COMMAND), *words],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=900,
        )

    def _release(self, verb: str, settings: dict[str, Any]) -> None:
        values = {
            "image": self._image(OPERATOR),
            "runtimeImage": self._image(RUNTIME),
            "settings": {"logFormat": "json", "progressSeconds": 2, "statusSeconds": 1, **settings},
        }
        where = (f"--namespace={SYSTEM}", "--wait", "--timeout=4m")
        self.helm.run(verb, RELEASE, CHART, *where, *self.helm.values(values))

    def _image(self, name: str) -> dict[str, str]:
        """An image as the chart's values say it."""
        repository, _, tag = name.rpartition(":")
        return {"repository": f"{self.images}/{repository}", "tag": tag, "pullPolicy": "IfNotPresent"}


@contextmanager
def installed(
    cluster: Access, folder: Path, address: str, images: str, node: Node | None = None
) -> Iterator[Installation]:
    """Serves a bucket at an address of this machine, and installs the operator.

    Args:
        cluster: where.
        folder: for Helm's files.
        address: an address of this machine that pods reach.
        images: where nodes find the images.
        node: the cluster's node, where it is the tests' own.
    """
    helm = Helm(find_programs(HELM)["helm"], folder, cluster.kubeconfig)
    with S3Server.start(address) as s3:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(service_without_pods(s3)))
        found = Installation(cluster, s3, helm, images, node)
        found.install()
        yield found


def service_without_pods(s3: S3Server) -> dict[str, Any]:
    """A Service whose one endpoint is a server of this machine."""
    service = reference("v1", "Service", "s3", "default")
    addresses = reference("discovery.k8s.io/v1", "EndpointSlice", "s3", "default")
    port = {"name": "http", "port": s3.port, "protocol": "TCP"}
    labels = {"kubernetes.io/service-name": "s3"}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {**service, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": s3.port}]}},
            {
                **addresses,
                "metadata": {**addresses["metadata"], "labels": labels},
                "addressType": "IPv4",
                "ports": [port],
                "endpoints": [{"addresses": [s3.host], "conditions": {"ready": True}}],
            },
        ],
    }
