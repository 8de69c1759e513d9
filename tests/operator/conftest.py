"""What the operator's tests share: a control plane that knows jobs, a node, a nursery of operators, and a stage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.admission import install_crd
from support.cluster import Cluster
from support.kubelet import Kubelet, Node, all_goes_well, kubelet
from support.operator import Gateway, Nursery, Stage, operator_on


@pytest.fixture(scope="module")
def plane() -> Iterator[Cluster]:
    """A control plane of this file's own that knows AsyncDiffJob: a pod must not come to another file's node."""
    with Cluster.start_control_plane() as cluster:
        install_crd(cluster.api)
        yield cluster


@pytest.fixture(scope="module")
def nodes(plane: Cluster) -> Iterator[Kubelet]:
    """Its node, on which all goes well unless a test says otherwise for its namespace."""
    with kubelet(plane, Node(name="gpu-1"), scripts=all_goes_well(2, 2)) as running:
        yield running


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where operators come from."""
    with Nursery() as running:
        yield running


@pytest.fixture(scope="module")
def stage(plane: Cluster, nodes: Kubelet, nursery: Nursery) -> Iterator[Stage]:
    """An operator that serves all namespaces, and compares everything each second, so that no test waits for that."""
    with (
        Gateway(plane, "operator-of-all") as gateway,
        operator_on(
            nursery,
            plane,
            "default",
            gateway=gateway,
            namespaces="",
            resync_seconds="1",
            allowed_images="registry.example/*",
        ) as operator,
    ):
        yield Stage(plane, nodes, gateway, operator)
