"""The fixture on a node of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster.access import Access
from support.installation.installation import Installation, installed
from support.node import HOST, Node


@pytest.fixture(scope="session")
def installation(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator, ready, on the session's node."""
    access = Access.by(node.cluster.kubeconfig)
    with installed(access, tmp_path_factory.mktemp("helm"), HOST, "localhost", node) as found:
        yield found
