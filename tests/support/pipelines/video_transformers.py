"""Video from further transformers: LTX, CogVideoX, HunyuanVideo."""

from __future__ import annotations

from typing import Any, Final

import diffusers
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

from support.pipelines import text
from support.pipelines.autoencoders import (
    audio_autoencoder,
    cogvideo_autoencoder,
    hunyuan_autoencoder,
    ltx2_autoencoder,
    ltx_autoencoder,
)
from support.pipelines.pictures import LATENT, SIZE
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW_GIVEN_SIGMAS, flow_scheduler
from support.pipelines.weights import seeded

_FIXED: Final = LATENT | {"max_sequence_length": 48, "num_frames": 9}


def _ltx() -> Pipeline:
    return quiet(
        diffusers.LTXPipeline(
            scheduler=flow_scheduler(use_dynamic_shifting=True),
            vae=ltx_autoencoder(seed=911),
            text_encoder=text.t5(seed=912),
            tokenizer=text.tokenizer(begin=False),
            transformer=seeded(
                lambda: diffusers.LTXVideoTransformer3DModel(
                    in_channels=8,
                    out_channels=8,
                    num_attention_heads=4,
                    attention_head_dim=8,
                    cross_attention_dim=32,
                    num_layers=3,
                    caption_channels=text.WIDTH,
                ),
                910,
            ),
        )
    )


def _sounding_ltx() -> Pipeline:
    layers = 2
    transformer = seeded(
        lambda: diffusers.LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=3,
            caption_channels=text.WIDTH,
            rope_double_precision=False,
        ),
        940,
    )
    connectors = seeded(
        lambda: LTX2TextConnectors(
            caption_channels=text.WIDTH,
            text_proj_in_factor=layers + 1,
            video_connector_num_attention_heads=4,
            video_connector_attention_head_dim=8,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=4,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            rope_double_precision=False,
        ),
        943,
    )
    return quiet(
        diffusers.LTX2Pipeline(
            scheduler=flow_scheduler(use_dynamic_shifting=True),
            vae=ltx2_autoencoder(seed=941),
            audio_vae=audio_autoencoder(seed=944),
            text_encoder=text.language_model("Gemma2", seed=942, layers=layers),
            tokenizer=text.tokenizer(),
            connectors=connectors,
            transformer=transformer,
            vocoder=None,
        )
    )


def _cogvideo() -> Pipeline:
    return quiet(
        diffusers.CogVideoXPipeline(
            tokenizer=text.tokenizer(begin=False),
            text_encoder=text.t5(seed=922),
            vae=cogvideo_autoencoder(seed=921),
            transformer=seeded(
                lambda: diffusers.CogVideoXTransformer3DModel(
                    num_attention_heads=4,
                    attention_head_dim=16,
                    in_channels=4,
                    out_channels=4,
                    time_embed_dim=8,
                    text_embed_dim=text.WIDTH,
                    num_layers=3,
                    sample_width=8,
                    sample_height=8,
                    sample_frames=9,
                    max_text_seq_length=48,
                    use_rotary_positional_embeddings=True,
                ),
                920,
            ),
            scheduler=diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction", snr_shift_scale=1.0),
        )
    )


def _hunyuan() -> Pipeline:
    return quiet(
        diffusers.HunyuanVideoPipeline(
            text_encoder=text.language_model("Llama", seed=932, layers=4),
            tokenizer=text.tokenizer(),
            transformer=seeded(
                lambda: diffusers.HunyuanVideoTransformer3DModel(
                    in_channels=4,
                    out_channels=4,
                    num_attention_heads=2,
                    attention_head_dim=16,
                    num_layers=2,
                    num_single_layers=2,
                    num_refiner_layers=1,
                    patch_size=1,
                    text_embed_dim=text.WIDTH,
                    pooled_projection_dim=text.WIDTH,
                    rope_axes_dim=(4, 4, 8),
                ),
                930,
            ),
            vae=hunyuan_autoencoder(seed=931),
            scheduler=flow_scheduler(shift=7.0),
            text_encoder_2=text.clip(seed=933),
            tokenizer_2=text.tokenizer(),
        )
    )


def _row(
    name: str, build: Any, call: Calling, *, branches: int, rows: int, notes: str, **changes: Any
) -> TinyPipeline:
    row: dict[str, Any] = {"schedulers": FLOW_GIVEN_SIGMAS, "guided": True}
    return TinyPipeline(
        name=name,
        family=name.split("-")[0],
        build=build,
        call=call,
        denoisers=("transformer",),
        branches=branches,
        rows=rows,
        notes=notes,
        **(row | changes),
    )


_TEMPLATE: Final = {"prompt_template": {"template": "{}", "crop_start": 0}}
_FOUR_GUIDANCES: Final = {
    "stg_scale": 1.0,
    "audio_stg_scale": 1.0,
    "modality_scale": 2.0,
    "audio_modality_scale": 2.0,
    "spatio_temporal_guidance_blocks": [1],
    "guidance_rescale": 0.5,
}

ROWS: Final = (
    _row(
        "ltx",
        _ltx,
        Calling(fixed=SIZE | _FIXED, guidance={"guidance_scale": 3.0}),
        branches=1,
        rows=2,
        notes="cache context cond_uncond; num_frames, height and width are arguments of the transformer",
    ),
    _row(
        "cogvideo",
        _cogvideo,
        Calling(fixed=_FIXED | {"height": 64, "width": 64}, guidance={"guidance_scale": 6.0}),
        branches=1,
        rows=2,
        schedulers=("cogvideo-ddim",),
        notes="x is (batch, frames, channels, height, width); predicts velocity; cache context cond_uncond",
    ),
    _row(
        "hunyuan",
        _hunyuan,
        Calling(
            fixed=_FIXED | _TEMPLATE | {"height": 64, "width": 64},
            guidance={"guidance_scale": 6.0},
            negative=False,
        ),
        branches=1,
        rows=1,
        guided=False,
        notes="guidance is an argument of the transformer, a thousandfold; cache context cond",
    ),
    _row(
        "hunyuan-true-cfg",
        _hunyuan,
        Calling(
            fixed=_FIXED | _TEMPLATE | {"height": 64, "width": 64},
            guidance={"true_cfg_scale": 4.0},
        ),
        branches=2,
        rows=1,
        notes="cache contexts cond and uncond",
    ),
    _row(
        "ltx2",
        _sounding_ltx,
        Calling(
            fixed=SIZE | _FIXED | _FOUR_GUIDANCES,
            guidance={"guidance_scale": 3.0, "audio_guidance_scale": 3.0},
        ),
        branches=3,
        rows=2,
        notes=(
            "x and prediction are video and audio; cache contexts cond_uncond, uncond_stg and uncond_modality, the "
            "latter two of one row a sample"
        ),
    ),
)
