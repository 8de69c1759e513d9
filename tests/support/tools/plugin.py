"""A pytest plugin: the programs that the chosen tests need are there before the first test runs.

A build takes minutes, so it is no part of a test's time, and its progress is shown. Where neither the
programs nor Go can be had the tests are skipped with the reason; in CI (`CI` is set) they fail.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

from support.tools.building import BuildFailedError
from support.tools.catalogue import KUBE, VERSITYGW
from support.tools.finding import find_programs
from support.tools.golang import GoUnavailableError
from support.tools.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.tools.catalogue import GoModule

# By marker: the fixtures that a test gets it for, and what such a test needs.
NEEDS = {
    "cluster": ({"cluster", "control_plane", "new_cluster"}, KUBE),
    "s3": ({"s3_server", "new_s3_server"}, VERSITYGW),
}
UNAVAILABLE = pytest.StashKey[dict[str, Exception]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers."""
    for marker, (_, module) in NEEDS.items():
        config.addinivalue_line("markers", f"{marker}: runs {', '.join(module.programs)} for real")
    config.stash[UNAVAILABLE] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their fixtures, before `-m` chooses among them."""
    for item in items:
        wanted = set(getattr(item, "fixturenames", ()))
        for marker, (fixtures, _) in NEEDS.items():
            if wanted & fixtures:
                item.add_marker(marker)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Finds or builds what the chosen tests need."""
    if session.config.option.collectonly:
        return
    for marker, (_, module) in NEEDS.items():
        if any(item.get_closest_marker(marker) for item in session.items):
            try:
                prepare(session.config, module)
            except (BuildFailedError, GoUnavailableError) as error:
                session.config.stash[UNAVAILABLE][marker] = error


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a test whose programs could not be had."""
    for marker, error in item.config.stash[UNAVAILABLE].items():
        if item.get_closest_marker(marker):
            if isinstance(error, GoUnavailableError) and not in_ci():
                pytest.skip(str(error))
            pytest.fail(str(error), pytrace=False)


def prepare(config: pytest.Config, module: GoModule) -> None:
    """Finds or builds the programs of a module, progress going to the terminal."""
    with uncaptured(config):
        find_programs(module, progress=Progress(sys.stderr))


@contextlib.contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Lets output through to the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield


def in_ci() -> bool:
    """Whether this is a run of continuous integration, where nothing may be left out."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}
