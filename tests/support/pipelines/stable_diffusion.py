"""Stable Diffusion 1.5 and 2.1 with its image-to-image, inpainting, upscaling and editing forms."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import NOISE, noise_scheduler
from support.pipelines.weights import seeded

SIZE: Final = {"height": 32, "width": 32}
LATENT: Final = {"output_type": "latent"}
LONGEST: Final = 77


def unet(*, seed: int, **options: Any) -> Any:
    """A UNet2DConditionModel of two levels, the lower with attention, for latents of 16 × 16."""
    settings: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": text.WIDTH,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return seeded(lambda: diffusers.UNet2DConditionModel(**(settings | options)), seed)


def parts(*, seed: int, scheduler: Any = None, **unet_options: Any) -> dict[str, Any]:
    """The components that all Stable Diffusion pipelines share, without a safety checker."""
    return {
        "vae": image_autoencoder(seed=seed),
        "text_encoder": text.clip(seed=seed + 1, longest=LONGEST),
        "tokenizer": text.tokenizer(longest=LONGEST),
        "unet": unet(seed=seed + 2, **unet_options),
        "scheduler": scheduler or noise_scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _version_1() -> Pipeline:
    return quiet(diffusers.StableDiffusionPipeline(**parts(seed=10)))


def _version_2() -> Pipeline:
    velocity = noise_scheduler(prediction_type="v_prediction")
    linear = {"use_linear_projection": True, "attention_head_dim": (4, 8)}
    return quiet(diffusers.StableDiffusionPipeline(**parts(seed=20, scheduler=velocity, **linear)))


ROWS: Final = (
    TinyPipeline(
        name="sd15",
        family="sd",
        build=_version_1,
        call=Calling(fixed=SIZE | LATENT, guidance={"guidance_scale": 5.0}),
        denoisers=("unet",),
        schedulers=NOISE,
        branches=1,
        rows=2,
        guided=True,
    ),
    TinyPipeline(
        name="sd21",
        family="sd",
        build=_version_2,
        call=Calling(fixed=SIZE | LATENT, guidance={"guidance_scale": 5.0}),
        denoisers=("unet",),
        schedulers=NOISE,
        branches=1,
        rows=2,
        guided=True,
        notes="predicts velocity",
    ),
)
