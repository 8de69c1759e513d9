"""The pytest fixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.helm.helm import Helm
from support.tools import HELM, find_programs


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """Helm without a cluster."""
    return Helm(find_programs(HELM)["helm"], tmp_path)
