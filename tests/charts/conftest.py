"""Programs that judge what the chart brings."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tools import KUBE_SCORE, PROMTOOL, find_programs


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own checker of rules and expressions."""
    return find_programs(PROMTOOL)["promtool"]


@pytest.fixture(scope="session")
def kube_score() -> Path:
    """A checker of manifests against what is held to be good practice."""
    return find_programs(KUBE_SCORE)["kube-score"]
