"""Stable Diffusion 3."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.pictures import LATENT, SIZE
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW, flow_scheduler
from support.pipelines.weights import seeded

_FIXED: Final = SIZE | LATENT | {"max_sequence_length": 48}
_GUIDANCE: Final = {"guidance_scale": 5.0}
_SKIPPING: Final = {"skip_guidance_layers": [1, 2], "skip_layer_guidance_stop": 0.8}


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
        "text_encoder": text.clip(seed=seed + 2, projected=True),
        "tokenizer": text.tokenizer(),
        "text_encoder_2": text.clip(seed=seed + 3, projected=True),
        "tokenizer_2": text.tokenizer(),
        "text_encoder_3": text.t5(seed=seed + 4, width=2 * text.WIDTH),
        "tokenizer_3": text.tokenizer(begin=False),
    }


def _text_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusion3Pipeline(**parts(seed=50)))


ROWS: Final = (
    TinyPipeline(
        name="sd3",
        family="sd3",
        build=_text_to_image,
        call=Calling(fixed=_FIXED, guidance=_GUIDANCE),
        denoisers=("transformer",),
        schedulers=FLOW,
        branches=1,
        rows=2,
        guided=True,
    ),
    TinyPipeline(
        name="sd3-skipped-layers",
        family="sd3",
        build=_text_to_image,
        call=Calling(fixed=_FIXED | _SKIPPING, guidance=_GUIDANCE),
        denoisers=("transformer",),
        schedulers=FLOW,
        branches=2,
        rows=2,
        guided=True,
        varying=True,
        notes="from the second step to the last but one a second call, of the conditional rows and with skip_layers",
    ),
)
