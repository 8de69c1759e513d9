"""Stable Diffusion 3."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW, flow_scheduler
from support.pipelines.stable_diffusion import LATENT, LONGEST, SIZE
from support.pipelines.weights import seeded

_CALL: Final = Calling(fixed=SIZE | LATENT | {"max_sequence_length": 48}, guidance={"guidance_scale": 5.0})


def transformer(*, seed: int, **options: Any) -> Any:
    """An SD3Transformer2DModel of four joint blocks for latents of 4 channels and at most 16 × 16."""
    settings: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 4,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "caption_projection_dim": 32,
        "joint_attention_dim": 2 * text.WIDTH,
        "pooled_projection_dim": 2 * text.WIDTH,
        "pos_embed_max_size": 32,
    }
    return seeded(lambda: diffusers.SD3Transformer2DModel(**(settings | options)), seed)


def parts(*, seed: int) -> dict[str, Any]:
    """Three text encoders, the transformer, an autoencoder and a flow scheduler."""
    return {
        "transformer": transformer(seed=seed),
        "scheduler": flow_scheduler(),
        "vae": image_autoencoder(seed=seed + 1, shift_factor=0.06, scaling_factor=1.5),
        "text_encoder": text.clip(seed=seed + 2, longest=LONGEST, projected=True),
        "tokenizer": text.tokenizer(longest=LONGEST),
        "text_encoder_2": text.clip(seed=seed + 3, longest=LONGEST, projected=True),
        "tokenizer_2": text.tokenizer(longest=LONGEST),
        "text_encoder_3": text.t5(seed=seed + 4, width=2 * text.WIDTH),
        "tokenizer_3": text.tokenizer(longest=LONGEST, begin=False),
    }


def _text_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusion3Pipeline(**parts(seed=50)))


ROWS: Final = (
    TinyPipeline(
        name="sd3",
        family="sd3",
        build=_text_to_image,
        call=_CALL,
        denoisers=("transformer",),
        schedulers=FLOW,
        branches=1,
        rows=2,
        guided=True,
    ),
)
