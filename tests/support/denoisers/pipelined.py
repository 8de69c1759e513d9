"""Denoisers of the tiny pipelines, called as their pipelines call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from asyncdiff_runtime.engine.call import Parameters
from torch import nn

from support.denoisers.row import Example
from support.pipelines import tiny


@dataclass(frozen=True)
class Pipelined:
    """A denoiser that a tiny pipeline has: its configuration, weights and arguments are the pipeline's."""

    name: str
    pipeline: str
    """The pipeline's name in its table."""

    def example(self) -> Example:
        """The denoiser and the pipeline's first call of it."""
        row = tiny(self.pipeline)
        pipe = row.build()
        denoiser: nn.Module = getattr(pipe, row.denoisers[0])
        calls: list[dict[str, Any]] = []

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(Parameters.of(module.forward).named(args, kwargs))

        hook = denoiser.register_forward_pre_hook(record, with_kwargs=True)
        try:
            row.result(pipe, steps=2)
        finally:
            hook.remove()
        return Example(denoiser, calls[0])


DENOISERS: Final = (
    Pipelined("ChromaTransformer2DModel", "chroma"),
    Pipelined("CogVideoXTransformer3DModel", "cogvideo"),
    Pipelined("FluxTransformer2DModel", "flux"),
    Pipelined("HunyuanVideoTransformer3DModel", "hunyuan"),
    Pipelined("LTX2VideoTransformer3DModel", "ltx2"),
    Pipelined("LTXVideoTransformer3DModel", "ltx"),
    Pipelined("Lumina2Transformer2DModel", "lumina"),
    Pipelined("PixArtTransformer2DModel", "pixart"),
    Pipelined("QwenImageTransformer2DModel", "qwen-image"),
    Pipelined("SD3Transformer2DModel", "sd3"),
    Pipelined("SanaTransformer2DModel", "sana"),
    Pipelined("UNet2DConditionModel", "sdxl"),
    Pipelined("UNetMotionModel", "animatediff"),
    Pipelined("UNetSpatioTemporalConditionModel", "svd"),
    Pipelined("WanTransformer3DModel", "wan"),
    Pipelined("ZImageTransformer2DModel", "z-image"),
)
