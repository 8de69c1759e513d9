"""A small model on disk, and jobs that use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from support.jobs import job as document
from support.pipelines import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that holds the SDXL pipeline at tiny size, in the folder `sdxl`."""
    volume = tmp_path_factory.mktemp("models")
    tiny("sdxl").build().save_pretrained(volume / "sdxl", safe_serialization=True)
    return volume


TINY: dict[str, Any] = {
    "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
    "spec.parallelism": {"device": "CPU"},
    "spec.generate": {"prompts": ["a fox", "a boat"], "steps": 2, "height": 64, "width": 64},
    "spec.output": {"volume": {"claimName": "renders"}},
}


@pytest.fixture
def make_job() -> Callable[..., AsyncDiffJob]:
    """Makes a job of the tiny model; changes are values at dotted paths."""

    def make(changes: dict[str, Any] | None = None) -> AsyncDiffJob:
        return load(document({**TINY, **(changes or {})}))

    return make
