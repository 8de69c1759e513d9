"""The published cuts name modules that are there, in the order in which they run, and cut the graph before them."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine.call import Call
from asyncdiff_runtime.engine.graph.capture import capture
from asyncdiff_runtime.engine.graph.parts import extract
from asyncdiff_runtime.engine.request import Request
from asyncdiff_runtime.engine.stages.line import Line, depending_on_the_latent, line
from asyncdiff_runtime.engine.stages.paths import cut_at
from asyncdiff_runtime.engine.stages.published import PUBLISHED
from asyncdiff_runtime.engine.stages.workload import workload
from diffusers import (
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNetMotionModel,
    UNetSpatioTemporalConditionModel,
)
from support.repository import ROOT
from torch._subclasses.fake_tensor import FakeTensorMode

REPOSITORIES = ROOT / "tests" / "support" / "repositories"


def _configuration(path: str) -> Any:
    return json.loads((REPOSITORIES / path / "config.json").read_text())


def _skeleton(model: str, **changes: Any) -> Any:
    match model:
        case "SD 1.5" | "SD 2.1":
            return UNet2DConditionModel.from_config(_configuration("sd15/unet") | changes)
        case "SDXL":
            return UNet2DConditionModel.from_config(_configuration("sdxl-base/unet") | changes)
        case "SD3":
            return SD3Transformer2DModel.from_config(_configuration("sd3-medium/transformer") | changes)
        case "SVD":
            return UNetSpatioTemporalConditionModel(**changes)
        case _:
            return UNetMotionModel(**changes)


def _arguments(model: str) -> dict[str, Any]:
    """What a denoiser is called with, without values: two rows, or two frames."""
    match model:
        case "SDXL":
            added = {"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)}
            return _unet((2, 4, 32, 32), (2, 77, 2048)) | {"added_cond_kwargs": added}
        case "SD3":
            latent, text = torch.empty(2, 16, 32, 32), torch.empty(2, 154, 4096)
            pooled = torch.empty(2, 2048)
            return {
                "hidden_states": latent,
                "encoder_hidden_states": text,
                "pooled_projections": pooled,
                "timestep": torch.empty(2),
            }
        case "SVD":
            return _unet((1, 2, 8, 32, 32), (1, 1, 1024)) | {"added_time_ids": torch.empty(1, 3)}
        case "AnimateDiff":
            return _unet((1, 4, 2, 32, 32), (2, 77, 1280))
        case _:
            return _unet((2, 4, 32, 32), (2, 77, 768))


def _unet(latent: tuple[int, ...], text: tuple[int, ...]) -> dict[str, Any]:
    return {
        "sample": torch.empty(latent),
        "encoder_hidden_states": torch.empty(text),
        "timestep": torch.empty(()),
    }


@cache
def _line(model: str) -> Line:
    """The operations of a denoiser at its own size, captured without values; it has no more layers than cuts name."""
    layers: dict[str, dict[str, Any]] = {
        "SDXL": {"transformer_layers_per_block": [1, 1, 1]},
        "SD3": {"num_layers": 19},
        "SVD": {"layers_per_block": (1, 2, 1, 1)},
        "AnimateDiff": {"layers_per_block": 1},
    }
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        module = _skeleton(model, **layers.get(model, {})).eval()
        captured = capture(
            Request(Call.of(module, module.forward, _arguments(model) | {"return_dict": False}))
        )
    graph = captured.graph.graph
    operations = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    whole = extract(graph, operations, graph.output_node().all_input_nodes)
    return line(whole, depending_on_the_latent(captured))


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
    with torch.device("meta"):
        there = {name for name, _ in _skeleton(model).named_modules()}
    cuts: Mapping[int, tuple[str, ...]] = PUBLISHED[model]
    for stages, cut in cuts.items():
        assert len(cut) == stages
        assert set(cut) <= there
        assert list(cut) == sorted(cut, key=_order)


@pytest.mark.parametrize("model", [model for model in PUBLISHED if model != "SD 2.1"])
def test_a_published_cut_lies_before_the_first_operation_of_each_module(model: str) -> None:
    laid = _line(model)
    others = PUBLISHED["SD 2.1"].values() if model == "SD 1.5" else ()  # the same blocks
    for cut in (*PUBLISHED[model].values(), *others):
        found = cut_at(laid, workload(laid, {}), cut)
        assert found.circular == (model == "SDXL")
        starts = found.boundaries if found.circular else (0, *found.boundaries)
        assert len(starts) == len(cut)
        for path, at in zip(cut, starts, strict=True):
            assert path in _modules(laid, at)
            assert not any(path in _modules(laid, before) for before in range(at))


def _modules(laid: Line, place: int) -> set[str]:
    """Paths of the modules that an operation is of."""
    stack = laid.owned[place].meta["nn_module_stack"]
    return {path.removeprefix("denoiser.") for path, _ in stack.values()}


def test_the_docs_list_the_published_cuts() -> None:
    page = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    rows = [
        f"| {model} | {stages} | {', '.join(f'`{path}`' for path in cut)} |"
        for model, cuts in PUBLISHED.items()
        for stages, cut in cuts.items()
    ]
    assert "\n".join(rows) in page
