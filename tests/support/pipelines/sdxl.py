"""Stable Diffusion XL."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import NOISE, noise_scheduler
from support.pipelines.stable_diffusion import LATENT, LONGEST, SIZE, unet

_SIZE_IDS: Final = 6
_SIZE_WIDTH: Final = 8


def xl_unet(*, seed: int, **options: Any) -> Any:
    """SDXL's topology: three levels, no attention at the first, ever deeper transformers below, size ids."""
    settings: dict[str, Any] = {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2 * text.WIDTH,
        "attention_head_dim": (2, 4, 8),
        "transformer_layers_per_block": (1, 2, 3),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": _SIZE_WIDTH,
        "projection_class_embeddings_input_dim": _SIZE_IDS * _SIZE_WIDTH + text.WIDTH,
    }
    return unet(seed=seed, **(settings | options))


def xl_parts(*, seed: int, **unet_options: Any) -> dict[str, Any]:
    """The components that all SDXL pipelines share."""
    return {
        "vae": image_autoencoder(seed=seed),
        "text_encoder": text.clip(seed=seed + 1, longest=LONGEST),
        "text_encoder_2": text.clip(seed=seed + 2, longest=LONGEST, projected=True),
        "tokenizer": text.tokenizer(longest=LONGEST),
        "tokenizer_2": text.tokenizer(longest=LONGEST),
        "unet": xl_unet(seed=seed + 3, **unet_options),
        "scheduler": noise_scheduler("euler", timestep_spacing="leading"),
        "add_watermarker": False,
    }


def _text_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusionXLPipeline(**xl_parts(seed=30)))


ROWS: Final = (
    TinyPipeline(
        name="sdxl",
        family="sdxl",
        build=_text_to_image,
        call=Calling(fixed=SIZE | LATENT, guidance={"guidance_scale": 5.0}),
        denoisers=("unet",),
        schedulers=NOISE,
        branches=1,
        rows=2,
        guided=True,
        notes="pooled text and size ids are in added_cond_kwargs",
    ),
)
