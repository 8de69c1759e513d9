"""Stable Diffusion 1.5 and 2.1 with its image-to-image, inpainting, upscaling and editing forms."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import image_autoencoder
from support.pipelines.pictures import LATENT, SIZE, image, image_and_mask, pictures
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import NOISE, noise_scheduler
from support.pipelines.weights import seeded


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
        "text_encoder": text.clip(seed=seed + 1),
        "tokenizer": text.tokenizer(),
        "unet": unet(seed=seed + 2, **unet_options),
        "scheduler": scheduler or noise_scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _version_1() -> Pipeline:
    return quiet(diffusers.StableDiffusionPipeline(**parts(seed=10)))


def _version_2() -> Pipeline:
    linear = {"use_linear_projection": True, "attention_head_dim": (4, 8)}
    return quiet(diffusers.StableDiffusionPipeline(**parts(seed=20, scheduler=_velocity(), **linear)))


def _velocity() -> Any:
    return noise_scheduler(prediction_type="v_prediction")


def _image_to_image() -> Pipeline:
    return quiet(diffusers.StableDiffusionImg2ImgPipeline(**parts(seed=110)))


def _inpainting() -> Pipeline:
    return quiet(diffusers.StableDiffusionInpaintPipeline(**parts(seed=120, in_channels=9)))


def _upscaling() -> Pipeline:
    mine = parts(seed=130, scheduler=_velocity(), in_channels=7, num_class_embeds=1000)
    del mine["requires_safety_checker"]
    mine["vae"] = image_autoencoder(seed=131, levels=3, scaling_factor=0.08333)
    return quiet(diffusers.StableDiffusionUpscalePipeline(**mine, low_res_scheduler=noise_scheduler("ddpm")))


def _editing() -> Pipeline:
    return quiet(diffusers.StableDiffusionInstructPix2PixPipeline(**parts(seed=140, in_channels=8)))


def _consistency() -> Pipeline:
    mine = parts(seed=150, scheduler=noise_scheduler("lcm"), time_cond_proj_dim=32)
    return quiet(diffusers.LatentConsistencyModelPipeline(**mine))


def _perturbed_attention() -> Pipeline:
    return quiet(diffusers.StableDiffusionPAGPipeline(**parts(seed=160), pag_applied_layers=["mid"]))


_ROW: Final[dict[str, Any]] = {
    "family": "sd",
    "denoisers": ("unet",),
    "schedulers": NOISE,
    "branches": 1,
    "rows": 2,
    "guided": True,
}
_GUIDANCE: Final = {"guidance_scale": 5.0}


def _row(name: str, build: Any, call: Calling, **changes: Any) -> TinyPipeline:
    return TinyPipeline(name=name, build=build, call=call, **(_ROW | changes))


ROWS: Final = (
    _row("sd15", _version_1, Calling(fixed=SIZE | LATENT, guidance=_GUIDANCE)),
    _row("sd21", _version_2, Calling(fixed=SIZE | LATENT, guidance=_GUIDANCE), notes="predicts velocity"),
    _row(
        "sd-image-to-image",
        _image_to_image,
        Calling(fixed=LATENT | {"strength": 0.7}, guidance=_GUIDANCE, inputs=image),
        notes="the first 30 % of the timesteps are left out",
    ),
    _row(
        "sd-inpainting",
        _inpainting,
        Calling(fixed=SIZE | LATENT, guidance=_GUIDANCE, inputs=image_and_mask),
        notes="channels 4 to 8 of the input stay the same: mask, then latents of the masked image",
    ),
    _row(
        "sd-upscaler",
        _upscaling,
        Calling(fixed=LATENT, guidance=_GUIDANCE, inputs=lambda batch: {"image": pictures(batch, side=16)}),
        notes="predicts velocity; channels 4 to 6 of the input stay the same: the noised image; class_labels",
    ),
    _row(
        "sd-editing",
        _editing,
        Calling(fixed=LATENT | {"image_guidance_scale": 1.5}, guidance=_GUIDANCE, inputs=image),
        rows=3,
        notes="channels 4 to 7 of the input stay the same: the image; rows are text, image, neither",
    ),
    _row(
        "lcm",
        _consistency,
        Calling(fixed=SIZE | LATENT, guidance={"guidance_scale": 8.5}, negative=False),
        schedulers=("lcm",),
        rows=1,
        guided=False,
        notes="guidance is embedded as timestep_cond",
    ),
    _row(
        "sd-perturbed-attention",
        _perturbed_attention,
        Calling(fixed=SIZE | LATENT | {"pag_scale": 3.0}, guidance=_GUIDANCE),
        rows=3,
        notes="attention processors of the middle block are exchanged during the call and take rows apart",
    ),
)
