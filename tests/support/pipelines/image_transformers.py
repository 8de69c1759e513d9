"""Images from further transformers: Qwen-Image, PixArt, Sana, Lumina 2, Chroma, Z-Image."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import deep_compression_autoencoder, image_autoencoder, qwen_autoencoder
from support.pipelines.pictures import LATENT, SIZE
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW_GIVEN_SIGMAS, NOISE, flow_scheduler, noise_scheduler
from support.pipelines.weights import seeded


def _qwen() -> Pipeline:
    pipe = diffusers.QwenImagePipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=qwen_autoencoder(seed=811),
        text_encoder=text.qwen_vision_language(seed=812),
        tokenizer=text.tokenizer(begin=False),
        transformer=seeded(
            lambda: diffusers.QwenImageTransformer2DModel(
                patch_size=2,
                in_channels=64,
                out_channels=16,
                num_layers=3,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=text.WIDTH,
                axes_dims_rope=(8, 4, 4),
            ),
            810,
        ),
    )
    # The template is 34 tokens of Qwen's vocabulary; of ours it would be 200, and all of them kept.
    pipe.prompt_template_encode = "{}"
    pipe.prompt_template_encode_start_idx = 0
    return quiet(pipe)


def _pixart() -> Pipeline:
    return quiet(
        diffusers.PixArtAlphaPipeline(
            tokenizer=text.tokenizer(begin=False),
            text_encoder=text.t5(seed=822),
            vae=image_autoencoder(seed=821),
            transformer=seeded(
                lambda: diffusers.PixArtTransformer2DModel(
                    sample_size=16,
                    num_layers=3,
                    patch_size=2,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    cross_attention_dim=32,
                    caption_channels=text.WIDTH,
                    in_channels=4,
                    out_channels=8,
                    use_additional_conditions=False,
                ),
                820,
            ),
            scheduler=noise_scheduler("dpm++"),
        )
    )


def _sana() -> Pipeline:
    return quiet(
        diffusers.SanaPipeline(
            tokenizer=text.tokenizer(),
            text_encoder=text.language_model("Gemma2", seed=832),
            vae=deep_compression_autoencoder(seed=831),
            transformer=seeded(
                lambda: diffusers.SanaTransformer2DModel(
                    patch_size=1,
                    in_channels=4,
                    out_channels=4,
                    num_layers=3,
                    num_attention_heads=4,
                    attention_head_dim=8,
                    num_cross_attention_heads=4,
                    cross_attention_head_dim=8,
                    cross_attention_dim=32,
                    caption_channels=text.WIDTH,
                    sample_size=8,
                ),
                830,
            ),
            scheduler=flow_scheduler(),
        )
    )


def _lumina() -> Pipeline:
    return quiet(
        diffusers.Lumina2Pipeline(
            transformer=seeded(
                lambda: diffusers.Lumina2Transformer2DModel(
                    sample_size=16,
                    patch_size=2,
                    in_channels=4,
                    hidden_size=32,
                    num_layers=2,
                    num_refiner_layers=1,
                    num_attention_heads=2,
                    num_kv_heads=1,
                    multiple_of=16,
                    axes_dim_rope=(8, 4, 4),
                    axes_lens=(300, 32, 32),
                    cap_feat_dim=text.WIDTH,
                ),
                840,
            ),
            scheduler=flow_scheduler(),
            vae=image_autoencoder(seed=841, shift_factor=0.06, scaling_factor=1.5),
            text_encoder=text.language_model("Gemma2", seed=842),
            tokenizer=text.tokenizer(),
        )
    )


def _chroma() -> Pipeline:
    return quiet(
        diffusers.ChromaPipeline(
            scheduler=flow_scheduler(),
            vae=image_autoencoder(seed=851, shift_factor=0.06, scaling_factor=1.5),
            text_encoder=text.t5(seed=852),
            tokenizer=text.tokenizer(begin=False),
            transformer=seeded(
                lambda: diffusers.ChromaTransformer2DModel(
                    in_channels=16,
                    num_layers=2,
                    num_single_layers=2,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=text.WIDTH,
                    axes_dims_rope=(4, 4, 8),
                    approximator_num_channels=16,
                    approximator_hidden_dim=32,
                    approximator_layers=1,
                ),
                850,
            ),
        )
    )


def _z_image() -> Pipeline:
    tokenizer = text.tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return quiet(
        diffusers.ZImagePipeline(
            scheduler=flow_scheduler(),
            vae=image_autoencoder(seed=861, shift_factor=0.06, scaling_factor=1.5),
            text_encoder=text.language_model("Qwen3", seed=862),
            tokenizer=tokenizer,
            transformer=seeded(
                lambda: diffusers.ZImageTransformer2DModel(
                    in_channels=4,
                    dim=32,
                    n_layers=2,
                    n_refiner_layers=1,
                    n_heads=2,
                    n_kv_heads=2,
                    cap_feat_dim=text.WIDTH,
                    axes_dims=[8, 4, 4],
                    axes_lens=[256, 32, 32],
                ),
                860,
            ),
        )
    )


def _row(name: str, build: Any, call: Calling, *, branches: int, notes: str, **changes: Any) -> TinyPipeline:
    row: dict[str, Any] = {"schedulers": FLOW_GIVEN_SIGMAS, "rows": 3 - branches}
    return TinyPipeline(
        name=name,
        family=name,
        build=build,
        call=call,
        denoisers=("transformer",),
        branches=branches,
        guided=True,
        notes=notes,
        **(row | changes),
    )


_FIXED: Final = SIZE | LATENT
_LARGE: Final = LATENT | {"height": 128, "width": 128}
_SHORT: Final = _FIXED | {"max_sequence_length": 48}
_GUIDANCE: Final = {"guidance_scale": 4.0}
_AS_ASKED: Final = {"use_resolution_binning": False, "clean_caption": False}

ROWS: Final = (
    _row(
        "qwen-image",
        _qwen,
        Calling(fixed=_LARGE, guidance={"true_cfg_scale": 4.0}),
        branches=2,
        notes="cache contexts cond and uncond, with texts of different lengths; timestep is t / 1000",
    ),
    _row(
        "pixart",
        _pixart,
        Calling(fixed=_SHORT | _AS_ASKED, guidance=_GUIDANCE),
        branches=1,
        schedulers=NOISE,
        notes="predicts twice the channels, of which the pipeline drops the second half",
    ),
    _row(
        "sana",
        _sana,
        Calling(
            fixed=_SHORT | _AS_ASKED | {"complex_human_instruction": None}, guidance=_GUIDANCE, negative=False
        ),
        branches=1,
        notes="linear attention",
    ),
    _row(
        "lumina",
        _lumina,
        Calling(
            fixed=_LARGE | {"max_sequence_length": 64, "system_prompt": "be brief", "cfg_trunc_ratio": 0.6},
            guidance=_GUIDANCE,
        ),
        branches=2,
        varying=True,
        notes="the timestep argument is 1 - t / 1000; the second call ends after 60 % of the steps",
    ),
    _row(
        "chroma",
        _chroma,
        Calling(fixed=_SHORT, guidance=_GUIDANCE),
        branches=2,
        notes="two calls without a cache context: conditional, then unconditional; timestep is t / 1000",
    ),
    _row(
        "z-image",
        _z_image,
        Calling(fixed=_SHORT, guidance=_GUIDANCE),
        branches=1,
        schedulers=("flow-euler",),
        notes="x, text and prediction are lists with a tensor for each row; timestep is 1 - t / 1000",
    ),
)
