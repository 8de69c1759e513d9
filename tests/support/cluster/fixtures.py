"""The pytest fixtures; `support.cluster` says what each is for."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.cluster.cluster import Cluster
from support.tools.cache import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What xdist's controller tells its workers: where they leave word of the clusters they share, and
# whose end is the session's end, for each worker may end before the others.
SHARED = pytest.StashKey[Path]()
FOLDER = "asyncdiff_shared_clusters"
OWNER = "asyncdiff_controller_pid"


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The session's API server; no controller changes what tests create."""
    yield from session_cluster("cluster", Cluster.start, pytestconfig)


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The session's control plane: API server, all controllers, the scheduler; no nodes."""
    yield from session_cluster("control-plane", Cluster.start_control_plane, pytestconfig)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """The name of a new namespace in `cluster`."""
    return cluster.namespace()


@pytest.fixture
def new_cluster() -> Iterator[Callable[[], Cluster]]:
    """Starts clusters of this test's own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Cluster.start())


@pytest.fixture
def new_control_plane() -> Iterator[Callable[[], Cluster]]:
    """Starts clusters of this test's own, controllers and scheduler among them."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Cluster.start_control_plane())


def session_cluster(name: str, start: Callable[..., Cluster], config: pytest.Config) -> Iterator[Cluster]:
    """A cluster for the whole session; with xdist the first worker that wants it starts it for all."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    if FOLDER not in told:
        with start() as cluster:
            yield cluster
        return
    word = Path(told[FOLDER], name)
    with lock(word.with_suffix(".lock"), on_wait=lambda: None):
        if not word.exists():
            word.write_text(str(start(owner=told[OWNER]).folder))
    yield Cluster.attach(Path(word.read_text()))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells an xdist worker, before it starts, where clusters are shared."""
    stash = node.config.stash
    if SHARED not in stash:
        stash[SHARED] = Path(tempfile.mkdtemp(prefix="asyncdiff-shared-"))
    node.workerinput.update({FOLDER: str(stash[SHARED]), OWNER: os.getpid()})


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the clusters that xdist workers shared, when the last of them is done."""
    if (shared := config.stash.get(SHARED, None)) is None:
        return
    for word in shared.iterdir():
        if not word.suffix:
            Cluster.attach(Path(word.read_text())).close()
    shutil.rmtree(shared)
