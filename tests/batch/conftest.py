"""A small model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.pipelines import tiny


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Lets torch compute on one core: test files run beside each other, and threads that wait for a core spin."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that holds the SDXL pipeline at tiny size, in the folder `sdxl`."""
    volume = tmp_path_factory.mktemp("models")
    tiny("sdxl").build().save_pretrained(volume / "sdxl", safe_serialization=True)
    return volume


@pytest.fixture(scope="session")
def every_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that holds a small model of every kind; see `save_models`."""
    from support.models import save_models

    volume = tmp_path_factory.mktemp("every-model")
    save_models(volume)
    return volume
