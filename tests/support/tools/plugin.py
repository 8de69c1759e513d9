"""A pytest plugin: the programs that the chosen tests need are there before the first test runs.

A build takes minutes, so it is no part of a test's time, and its progress is shown. Where neither the
programs nor Go can be had the tests are skipped with the reason; in CI (`CI` is set) they fail.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.tools.building import BuildFailedError
from support.tools.catalogue import (
    API_PROGRAMS,
    CONTROL_PROGRAMS,
    COREDNS,
    HELM,
    KUBE,
    KUBE_SCORE,
    PROMTOOL,
    VERSITYGW,
    GoModule,
)
from support.tools.finding import find_programs
from support.tools.golang import GoUnavailableError
from support.tools.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Need:
    """The programs that certain fixtures run, and the marker of tests that ask for one of these."""

    marker: str
    fixtures: frozenset[str]
    module: GoModule
    programs: tuple[str, ...]

    def of(self, item: pytest.Item) -> bool:
        """Whether a test has this need."""
        return not self.fixtures.isdisjoint(getattr(item, "fixturenames", ()))


NEEDS = (
    Need("cluster", frozenset({"cluster", "new_cluster"}), KUBE, API_PROGRAMS),
    Need("cluster", frozenset({"control_plane", "new_control_plane"}), KUBE, CONTROL_PROGRAMS),
    Need("node", frozenset({"node"}), KUBE, KUBE.programs),
    Need("node", frozenset({"node"}), COREDNS, COREDNS.programs),
    Need("helm", frozenset({"helm"}), HELM, HELM.programs),
    Need("helm", frozenset({"kube_score"}), KUBE_SCORE, KUBE_SCORE.programs),
    Need("prometheus", frozenset({"promtool"}), PROMTOOL, PROMTOOL.programs),
    Need("s3", frozenset({"s3_server", "new_s3_server"}), VERSITYGW, VERSITYGW.programs),
)
UNAVAILABLE = pytest.StashKey[dict[Need, Exception]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers."""
    for need in NEEDS:
        config.addinivalue_line("markers", f"{need.marker}: runs {', '.join(need.programs)} for real")
    config.stash[UNAVAILABLE] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their fixtures, before `-m` chooses among them."""
    for item in items:
        for need in NEEDS:
            if need.of(item):
                item.add_marker(need.marker)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Finds or builds what the chosen tests need."""
    if session.config.option.collectonly:
        return
    for need in NEEDS:
        if any(need.of(item) for item in session.items):
            try:
                with uncaptured(session.config):
                    find_programs(need.module, need.programs, Progress(sys.stderr))
            except (BuildFailedError, GoUnavailableError) as error:
                session.config.stash[UNAVAILABLE][need] = error


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a test whose programs could not be had."""
    for need, error in item.config.stash[UNAVAILABLE].items():
        if need.of(item):
            if isinstance(error, GoUnavailableError) and not in_ci():
                pytest.skip(str(error))
            pytest.fail(str(error), pytrace=False)


@contextlib.contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Lets output through to the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield


def in_ci() -> bool:
    """Whether this is a run of continuous integration, where nothing may be left out."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}
