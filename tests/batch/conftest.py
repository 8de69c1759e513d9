"""A small model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pipelines import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that holds the SDXL pipeline at tiny size, in the folder `sdxl`."""
    volume = tmp_path_factory.mktemp("models")
    tiny("sdxl").build().save_pretrained(volume / "sdxl", safe_serialization=True)
    return volume
