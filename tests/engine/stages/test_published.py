"""The published cuts name modules that are there, in the order in which they run."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine.stages.published import PUBLISHED
from diffusers import (
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNetMotionModel,
    UNetSpatioTemporalConditionModel,
)
from support.repository import ROOT

REPOSITORIES = ROOT / "tests" / "support" / "repositories"


def _configuration(path: str) -> Any:
    return json.loads((REPOSITORIES / path / "config.json").read_text())


def _skeleton(model: str) -> Any:
    with torch.device("meta"):
        match model:
            case "SD 1.5" | "SD 2.1":
                return UNet2DConditionModel.from_config(_configuration("sd15/unet"))
            case "SDXL":
                return UNet2DConditionModel.from_config(_configuration("sdxl-base/unet"))
            case "SD3":
                return SD3Transformer2DModel.from_config(_configuration("sd3-medium/transformer"))
            case "SVD":
                return UNetSpatioTemporalConditionModel()
            case _:
                return UNetMotionModel()


def _order(path: str) -> tuple[Any, ...]:
    """When a module runs: down, middle, up; block by block, each layer of resnets before the same of attentions."""
    names = path.split(".")
    part = ["conv_in", "pos_embed", "down_blocks", "mid_block", "up_blocks", "transformer_blocks"].index(
        names[0]
    )
    block = int(names[1]) if len(names) > 1 else 0
    layer = (int(names[3]), names[2] == "attentions") if len(names) > 3 else (0, False)
    return part, block, layer


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_published_cut_names_modules_that_are_there_in_the_order_in_which_they_run(model: str) -> None:
    there = {name for name, _ in _skeleton(model).named_modules()}
    cuts: Mapping[int, tuple[str, ...]] = PUBLISHED[model]
    for stages, cut in cuts.items():
        assert len(cut) == stages
        assert set(cut) <= there
        assert list(cut) == sorted(cut, key=_order)


def test_the_docs_list_the_published_cuts() -> None:
    page = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    rows = [
        f"| {model} | {stages} | {', '.join(f'`{path}`' for path in cut)} |"
        for model, cuts in PUBLISHED.items()
        for stages, cut in cuts.items()
    ]
    assert "\n".join(rows) in page
