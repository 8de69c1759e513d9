"""What a rank does in the tests of sharded weights, and how much memory that takes."""

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from asyncdiff_runtime.engine import AsyncStages, EngineError, Exact, parallelize, weightless
from torch import nn

from .generations import Array, Options
from .pipelines import quiet, sd3, tiny


@dataclass(frozen=True)
class Shared:
    """What came of a pipeline whose denoiser's weights were sharded.

    Attributes:
        outputs: of the calls, in order.
        weight_bytes: of the whole denoiser.
        held_bytes: memory of tensors of its weights' shapes that this rank has afterwards, of other modules' left out.
        refused: what was said to a call, and to another strategy, once the pipeline was restored.
    """

    outputs: list[Array]
    weight_bytes: int
    held_bytes: int
    refused: tuple[str, str]


def wide(head: int) -> Any:
    """The tiny Stable Diffusion 3 with another transformer: of 14 MB with heads of 16, of 120 MB with heads of 48."""
    parts = sd3.parts(seed=50)
    del parts["transformer"]
    transformer = sd3.transformer(
        seed=50,
        num_layers=6,
        attention_head_dim=head,
        num_attention_heads=8,
        caption_projection_dim=8 * head,
    )
    return quiet(diffusers.StableDiffusion3Pipeline(**parts, transformer=transformer))


def divided(
    _rank: int, _world: int, strategy: AsyncStages, calls: tuple[Options, ...], folder: Path | None
) -> Shared:
    """Generates by a pipeline whose weights are in memory before, or in files."""
    row, pipe = tiny("sd3"), wide(16)
    weight_bytes, forms = (
        bytes_of(pipe.transformer),
        {weight.shape for weight in pipe.transformer.parameters()},
    )
    others = live_bytes(forms) - weight_bytes
    if folder is not None:
        pipe.transformer = weightless(diffusers.SD3Transformer2DModel, folder)
    with parallelize(pipe, strategy):
        outputs = [row.result(pipe, **call).numpy() for call in calls]
        held_bytes = live_bytes(forms) - others
    refused = (_refusal(lambda: row.result(pipe)), _refusal(lambda: parallelize(pipe, Exact())))
    return Shared(outputs, weight_bytes, held_bytes, refused)


def peaking(_rank: int, _world: int, strategy: AsyncStages, call: Options, folder: Path) -> tuple[Array, int]:
    """Generates by a model's files; gives the output, and by how many bytes this process was larger meanwhile."""
    row, pipe = tiny("sd3"), tiny("sd3").build()
    with parallelize(pipe, strategy):
        row.result(pipe, steps=1)  # what is imported at a first capture is no part of the model
    del pipe.transformer
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here
    before = _of_status("VmHWM")
    pipe.transformer = weightless(diffusers.SD3Transformer2DModel, folder)
    with parallelize(pipe, strategy):
        output = row.result(pipe, **call).numpy()
    return output, _of_status("VmHWM") - before


def _of_status(name: str) -> int:
    """Bytes that the kernel counts for this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) * 1024


def live_bytes(forms: set[torch.Size]) -> int:
    """Memory of all tensors of some shapes that there are, each storage once."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if (
            type(thing) in (torch.Tensor, nn.Parameter)
            and thing.shape in forms
            and thing.device.type == "cpu"
        ):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def bytes_of(module: nn.Module) -> int:
    """Memory of a module's weights."""
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def _refusal(act: Any) -> str:
    try:
        act()
    except EngineError as error:
        return f"{type(error).__name__}: {error}"
    return ""
