"""Video from UNets: Stable Video Diffusion and AnimateDiff."""

from __future__ import annotations

from typing import Any, Final

import diffusers
import transformers

from support.pipelines import text
from support.pipelines.pictures import LATENT, SIDE, SIZE, image
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import NOISE, noise_scheduler
from support.pipelines.stable_diffusion import parts
from support.pipelines.weights import seeded

_FRAMES: Final = {"num_frames": 3}
_TIME_IDS: Final = 3
_TIME_WIDTH: Final = 32


def _video_unet(*, seed: int) -> Any:
    return seeded(
        lambda: diffusers.UNetSpatioTemporalConditionModel(
            sample_size=16,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=text.WIDTH,
            num_attention_heads=(2, 4),
            addition_time_embed_dim=_TIME_WIDTH,
            projection_class_embeddings_input_dim=_TIME_IDS * _TIME_WIDTH,
            num_frames=3,
        ),
        seed,
    )


def _video_autoencoder(*, seed: int) -> Any:
    return seeded(
        lambda: diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            latent_channels=4,
            sample_size=SIDE,
        ),
        seed,
    )


def _image_encoder(*, seed: int) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=text.WIDTH,
        intermediate_size=37,
        projection_dim=text.WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
    )
    return seeded(lambda: transformers.CLIPVisionModelWithProjection(config), seed)


def _stable_video() -> Pipeline:
    scheduler = noise_scheduler(
        "euler",
        prediction_type="v_prediction",
        interpolation_type="linear",
        timestep_spacing="leading",
        timestep_type="continuous",
        sigma_min=0.002,
        sigma_max=700.0,
        use_karras_sigmas=True,
    )
    return quiet(
        diffusers.StableVideoDiffusionPipeline(
            vae=_video_autoencoder(seed=510),
            image_encoder=_image_encoder(seed=511),
            unet=_video_unet(seed=512),
            scheduler=scheduler,
            feature_extractor=transformers.CLIPImageProcessor(
                crop_size={"height": SIDE, "width": SIDE}, size={"shortest_edge": SIDE}
            ),
        )
    )


def _motion_unet(*, seed: int) -> Any:
    return seeded(
        lambda: diffusers.UNetMotionModel(
            sample_size=16,
            block_out_channels=(32, 64),
            layers_per_block=2,
            down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
            up_block_types=("CrossAttnUpBlockMotion", "UpBlockMotion"),
            cross_attention_dim=text.WIDTH,
            num_attention_heads=4,
            motion_num_attention_heads=2,
            norm_num_groups=8,
        ),
        seed,
    )


def _animate() -> Pipeline:
    mine = parts(seed=520, scheduler=noise_scheduler(beta_schedule="linear"))
    for absent in ("safety_checker", "requires_safety_checker"):
        del mine[absent]
    mine["unet"] = _motion_unet(seed=525)
    return quiet(diffusers.AnimateDiffPipeline(**mine, motion_adapter=None))


ROWS: Final = (
    TinyPipeline(
        name="svd",
        family="svd",
        build=_stable_video,
        call=Calling(
            fixed=SIZE | LATENT | _FRAMES,
            guidance={"max_guidance_scale": 3.0},
            prompted=False,
            inputs=image,
        ),
        denoisers=("unet",),
        schedulers=("euler",),
        branches=1,
        rows=2,
        guided=True,
        notes=(
            "x is (batch, frames, channels, height, width); channels 4 to 7 stay the same: the image; predicts "
            "velocity; timesteps are 0.25 log sigma; guidance grows from frame to frame"
        ),
    ),
    TinyPipeline(
        name="animatediff",
        family="animatediff",
        build=_animate,
        call=Calling(fixed=SIZE | LATENT | _FRAMES, guidance={"guidance_scale": 5.0}),
        denoisers=("unet",),
        schedulers=NOISE,
        branches=1,
        rows=2,
        guided=True,
        notes="x is (batch, channels, frames, height, width); prompt embeddings have a row for each frame",
    ),
)
