"""Stable Diffusion XL."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.pictures import LATENT, SIZE, image, image_and_mask
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import NOISE, noise_scheduler
from support.pipelines.stable_diffusion import unet

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
        "text_encoder": text.clip(seed=seed + 1),
        "text_encoder_2": text.clip(seed=seed + 2, projected=True),
        "tokenizer": text.tokenizer(),
        "tokenizer_2": text.tokenizer(),
        "unet": xl_unet(seed=seed + 3, **unet_options),
        "scheduler": noise_scheduler("euler", timestep_spacing="leading"),
        "add_watermarker": False,
    }


def _text_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusionXLPipeline(**xl_parts(seed=30)))


def _image_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusionXLImg2ImgPipeline(**xl_parts(seed=210)))


def _inpainting() -> Pipeline:
    return quiet(diffusers.StableDiffusionXLInpaintPipeline(**xl_parts(seed=220, in_channels=9)))


def _inpainting_by_blending() -> Pipeline:
    return quiet(diffusers.StableDiffusionXLInpaintPipeline(**xl_parts(seed=230)))


def _row(name: str, build: Any, call: Calling, notes: str) -> TinyPipeline:
    return TinyPipeline(
        name=name,
        family="sdxl",
        build=build,
        call=call,
        denoisers=("unet",),
        schedulers=NOISE,
        branches=1,
        rows=2,
        guided=True,
        notes=notes,
    )


_GUIDANCE: Final = {"guidance_scale": 5.0}

ROWS: Final = (
    _row(
        "sdxl",
        _text_to_image,
        Calling(fixed=SIZE | LATENT, guidance=_GUIDANCE),
        "pooled text and size ids are in added_cond_kwargs",
    ),
    _row(
        "sdxl-image-to-image",
        _image_to_image,
        Calling(fixed=LATENT | {"strength": 0.6}, guidance=_GUIDANCE, inputs=image),
        "the first 40 % of the timesteps are left out",
    ),
    _row(
        "sdxl-inpainting",
        _inpainting,
        Calling(fixed=SIZE | LATENT | {"strength": 1.0}, guidance=_GUIDANCE, inputs=image_and_mask),
        "channels 4 to 8 of the input stay the same: mask, then latents of the masked image",
    ),
    _row(
        "sdxl-inpainting-by-blending",
        _inpainting_by_blending,
        Calling(fixed=SIZE | LATENT | {"strength": 0.8}, guidance=_GUIDANCE, inputs=image_and_mask),
        "after each step the pipeline puts the noised image back outside the mask",
    ),
)
