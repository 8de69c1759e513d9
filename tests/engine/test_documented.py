"""The page about the engine keeps up with the tests."""

from pathlib import Path

import asyncdiff_runtime.engine as engine
import pytest
from support.pipelines import TABLE

PAGE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text()


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_the_page_says_what_each_pipeline_can_do(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "name", [name for name in engine.__all__ if name.endswith(("Refused", "Error", "Failed"))]
)
def test_the_page_names_each_error(name: str) -> None:
    abstract = {"Refused", "PeerError"}
    assert name in abstract or f"`{name}`" in PAGE
