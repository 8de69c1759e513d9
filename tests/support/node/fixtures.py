"""The pytest fixtures; `support.node` says what each is for."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.node import images, sandbox
from support.node.node import NEEDED, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The session's node, with the images of operator and runtime."""
    if reason := hindrance():
        pytest.skip(reason)
    with node_with_images(tmp_path_factory.mktemp("images")) as node:
        yield node


@contextlib.contextmanager
def node_with_images(folder: Path) -> Iterator[Node]:
    """Starts a node that has the images; archives pass through `folder`."""
    runtime, base = images.Runtime.wanted(), images.base()
    with ThreadPoolExecutor() as aside:
        builds = [aside.submit(build, folder) for build in (images.operator, runtime.build)]
        with Node.start(base, mounts=runtime.mounts) as node:
            logger.info(
                "a node is ready: kubelet, containerd, kube-proxy, name server, four GPUs that are not there"
            )
            for build in builds:
                archive = build.result()
                node.import_image(archive)
                logger.info("it has the image %s, %d MB", archive.stem, archive.stat().st_size / 1e6)
                archive.unlink()
            yield node
    logger.info("the node is gone")


def hindrance() -> str:
    """Why no node can be had here; empty where one can."""
    if os.geteuid() != 0:
        return "a node needs root, for namespaces and containers"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"a node needs {', '.join(missing)}, which PATH does not have; .ci/run installs them on Debian"
    return sandbox.hindrance() or images.hindrance()
