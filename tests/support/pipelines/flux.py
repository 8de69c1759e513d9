"""FLUX.1."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.pictures import LATENT, SIDE, SIZE, image, pictures
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW_GIVEN_SIGMAS, flow_scheduler
from support.pipelines.weights import seeded

_FIXED: Final = SIZE | LATENT | {"max_sequence_length": 48}
_PACKED: Final = 16
"""Channels of a token: four latents of four channels."""


def transformer(*, seed: int, **options: Any) -> Any:
    """A FluxTransformer2DModel of two joint and three single blocks with embedded guidance."""
    settings: dict[str, Any] = {
        "patch_size": 1,
        "in_channels": _PACKED,
        "out_channels": _PACKED,
        "num_layers": 2,
        "num_single_layers": 3,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": text.WIDTH,
        "pooled_projection_dim": text.WIDTH,
        "axes_dims_rope": (4, 4, 8),
        "guidance_embeds": True,
    }
    return seeded(lambda: diffusers.FluxTransformer2DModel(**(settings | options)), seed)


def parts(*, seed: int, **transformer_options: Any) -> dict[str, Any]:
    """Two text encoders, the transformer, an autoencoder and a scheduler whose shift follows the image's size."""
    return {
        "scheduler": flow_scheduler(use_dynamic_shifting=True),
        "vae": image_autoencoder(seed=seed + 1, shift_factor=0.06, scaling_factor=1.5),
        "text_encoder": text.clip(seed=seed + 2),
        "tokenizer": text.tokenizer(),
        "text_encoder_2": text.t5(seed=seed + 3),
        "tokenizer_2": text.tokenizer(begin=False),
        "transformer": transformer(seed=seed, **transformer_options),
    }


def _text_to_image() -> Pipeline:
    return quiet(diffusers.FluxPipeline(**parts(seed=60)))


def _control() -> Pipeline:
    return quiet(diffusers.FluxControlPipeline(**parts(seed=310, in_channels=2 * _PACKED)))


def _kontext() -> Pipeline:
    return quiet(diffusers.FluxKontextPipeline(**parts(seed=320)))


_KONTEXT: Final = {"max_area": SIDE * SIDE, "_auto_resize": False}

ROWS: Final = (
    TinyPipeline(
        name="flux",
        family="flux",
        build=_text_to_image,
        call=Calling(fixed=_FIXED, guidance={"guidance_scale": 3.5}, negative=False),
        denoisers=("transformer",),
        schedulers=(*FLOW_GIVEN_SIGMAS, "flow-dpm++"),
        branches=1,
        rows=1,
        guided=False,
        notes="guidance is an argument of the transformer; the timestep argument is t / 1000",
    ),
    TinyPipeline(
        name="flux-true-cfg",
        family="flux",
        build=_text_to_image,
        call=Calling(fixed=_FIXED, guidance={"true_cfg_scale": 4.0}),
        denoisers=("transformer",),
        schedulers=(*FLOW_GIVEN_SIGMAS, "flow-dpm++"),
        branches=2,
        rows=1,
        guided=True,
        notes="cache contexts cond and uncond",
    ),
    TinyPipeline(
        name="flux-control",
        family="flux",
        build=_control,
        call=Calling(
            fixed=_FIXED,
            guidance={"guidance_scale": 3.5},
            negative=False,
            inputs=lambda batch: {"control_image": pictures(batch)},
        ),
        denoisers=("transformer",),
        schedulers=FLOW_GIVEN_SIGMAS,
        branches=1,
        rows=1,
        guided=False,
        notes="the second half of every token's channels stays the same: the control image",
    ),
    TinyPipeline(
        name="flux-kontext",
        family="flux",
        build=_kontext,
        call=Calling(fixed=_FIXED | _KONTEXT, guidance={"guidance_scale": 3.5}, negative=False, inputs=image),
        denoisers=("transformer",),
        schedulers=FLOW_GIVEN_SIGMAS,
        branches=1,
        rows=1,
        guided=False,
        notes="the second half of the tokens stays the same: the image; its part of the prediction is dropped",
    ),
    TinyPipeline(
        name="flux-kontext-true-cfg",
        family="flux",
        build=_kontext,
        call=Calling(fixed=_FIXED | _KONTEXT, guidance={"true_cfg_scale": 4.0}, inputs=image),
        denoisers=("transformer",),
        schedulers=FLOW_GIVEN_SIGMAS,
        branches=2,
        rows=1,
        guided=True,
        notes="two calls without a cache context: conditional, then unconditional",
    ),
)
