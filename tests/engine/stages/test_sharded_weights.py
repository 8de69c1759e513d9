"""With sharded weights a rank has what its stage reads and no more, and makes the same pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from asyncdiff_runtime.engine import AsyncStages, LayoutError, PipelineRefused, parallelize, weightless
from safetensors.torch import load_file, save_file
from support import shards
from support.pipelines import tiny
from support.ranks import Ranks

Group = Callable[[int], Ranks]

SHARDED = AsyncStages(stages=2, warmup=2, weights="sharded")
CALLS = ({"seed": 0, "steps": 4}, {"seed": 1, "steps": 3, "batch": 2})


@pytest.mark.parametrize("stored", [False, True], ids=["from memory", "from files"])
def test_ranks_have_their_shares_and_give_what_one_process_gives(
    ranks: Group, tmp_path: Path, stored: bool
) -> None:
    row, alone = tiny("sd3"), shards.wide(16)
    if stored:
        alone.transformer.save_pretrained(tmp_path, max_shard_size="4MB")
    with parallelize(alone, SHARDED):  # all stages are here, and so are all weights
        expected = [row.result(alone, **call).numpy() for call in CALLS]
    found = ranks(2).run(shards.divided, SHARDED, CALLS, tmp_path if stored else None)
    for shared in found:
        assert all(map(np.array_equal, shared.outputs, expected))
        assert shared.held_bytes <= shared.weight_bytes * (1 / 2 + 0.1)
        called, parallelized = shared.refused
        assert called.startswith("PipelineRefused: The SD3Transformer2DModel has no weights")
        assert parallelized.startswith("PipelineRefused: The pipeline's transformer has no weights")
    assert sum(shared.held_bytes for shared in found) >= found[0].weight_bytes


def test_a_model_for_which_there_is_no_room_on_either_of_two_ranks_runs_on_both(
    ranks: Group, tmp_path: Path
) -> None:
    whole = shards.wide(48)
    whole.transformer.save_pretrained(tmp_path, max_shard_size="8MB")
    room = 0.8 * shards.bytes_of(whole.transformer)
    expected = tiny("sd3").result(whole, steps=2).numpy()
    exact = AsyncStages(stages=2, warmup=2, weights="sharded")
    for output, grown in ranks(2).run(shards.peaking, exact, {"steps": 2}, tmp_path):
        assert np.array_equal(output, expected)
        assert grown <= room


def test_a_denoiser_without_weights_is_otherwise_as_it_was_saved(tmp_path: Path) -> None:
    pipe = tiny("wan").build()
    pipe.transformer.save_pretrained(tmp_path)
    loaded = diffusers.WanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    empty = weightless(diffusers.WanTransformer3DModel, tmp_path, dtype=torch.bfloat16)
    assert described(empty) == described(loaded)
    assert empty.to("cpu") is empty
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(empty.buffers(), loaded.buffers(), strict=True)
    )
    with pytest.raises(PipelineRefused, match="has the dtype that it was made with"):
        empty.to(torch.float32)


def described(module: torch.nn.Module) -> list[tuple[Any, ...]]:
    """The forms of a module's tensors."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    return [(name, tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for name, tensor in tensors]


def test_files_that_lack_a_weight_are_refused(tmp_path: Path) -> None:
    tiny("sd15").build().unet.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_in.weight"]
    save_file(weights, file)
    with pytest.raises(
        PipelineRefused, match=r"has no weight conv_in\.weight, which a UNet2DConditionModel has"
    ):
        weightless(diffusers.UNet2DConditionModel, tmp_path)
    file.unlink()
    with pytest.raises(PipelineRefused, match="has no weights as safetensors"):
        weightless(diffusers.UNet2DConditionModel, tmp_path)


def test_other_words_for_weights_are_refused() -> None:
    with pytest.raises(LayoutError, match="weights is 'split'; there are replicated and sharded"):
        AsyncStages(stages=2, weights="split")  # type: ignore[arg-type]  # -- as a user would
