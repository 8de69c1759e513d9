"""The pytest fixtures; `support.node` says what each is for."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from support.node import images, sandbox
from support.node.node import NEEDED, Node

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The session's node, with the images of operator and runtime."""
    if reason := hindrance():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("images")
    environment = images.Environment.of_this_process()
    with Node.start(images.base(), mounts=environment.folders) as node:
        for archive in (images.operator(folder), images.runtime(folder, environment)):
            node.import_image(archive)
            archive.unlink()
        yield node


def hindrance() -> str:
    """Why no node can be had here; empty where one can."""
    if os.geteuid() != 0:
        return "a node needs root, for namespaces and containers"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"a node needs {', '.join(missing)}, which PATH does not have; .ci/run installs them on Debian"
    return sandbox.hindrance()
