"""Wan video, with one transformer (2.1) and with two (2.2)."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines import text
from support.pipelines.autoencoders import wan_autoencoder
from support.pipelines.pictures import LATENT, pictures
from support.pipelines.row import Calling, Pipeline, TinyPipeline, quiet
from support.pipelines.schedulers import FLOW, flow_scheduler
from support.pipelines.weights import seeded

_FIXED: Final = LATENT | {"height": 64, "width": 64, "num_frames": 9, "max_sequence_length": 48}


def transformer(*, seed: int, **options: Any) -> Any:
    """A WanTransformer3DModel of three blocks."""
    settings: dict[str, Any] = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": text.WIDTH,
        "freq_dim": 64,
        "ffn_dim": 32,
        "num_layers": 3,
        "rope_max_seq_len": 32,
    }
    return seeded(lambda: diffusers.WanTransformer3DModel(**(settings | options)), seed)


def parts(*, seed: int) -> dict[str, Any]:
    """Text encoder, transformer, autoencoder and a multistep scheduler of flow predictions."""
    return {
        "tokenizer": text.tokenizer(begin=False),
        "text_encoder": text.umt5(seed=seed + 1),
        "vae": wan_autoencoder(seed=seed + 2),
        "scheduler": flow_scheduler(),
        "transformer": transformer(seed=seed),
    }


def _image_to_video() -> Pipeline:
    mine = parts(seed=710)
    mine["transformer"] = transformer(seed=715, in_channels=16 + 4 + 16)
    return quiet(diffusers.WanImageToVideoPipeline(**mine))


def _token_timesteps() -> Pipeline:
    return quiet(diffusers.WanPipeline(**parts(seed=720), expand_timesteps=True))


def _one_transformer() -> Pipeline:
    return quiet(diffusers.WanPipeline(**parts(seed=70)))


def _two_transformers() -> Pipeline:
    second = transformer(seed=85)
    return quiet(diffusers.WanPipeline(**parts(seed=80), transformer_2=second, boundary_ratio=0.875))


def _row(
    name: str, build: Any, notes: str, call: Calling | None = None, second: bool = False
) -> TinyPipeline:
    return TinyPipeline(
        name=name,
        family="wan",
        build=build,
        call=call or Calling(fixed=_FIXED, guidance=_GUIDANCE),
        denoisers=("transformer", "transformer_2") if second else ("transformer",),
        schedulers=FLOW,
        branches=2,
        rows=1,
        guided=True,
        notes=f"cache contexts cond and uncond; {notes}",
    )


_GUIDANCE: Final = {"guidance_scale": 5.0}

ROWS: Final = (
    _row("wan", _one_transformer, "each with its own text"),
    _row(
        "wan-two-transformers",
        _two_transformers,
        "transformer down to timestep 875, transformer_2 below",
        second=True,
    ),
    _row(
        "wan-image-to-video",
        _image_to_video,
        "channels 16 to 35 stay the same: mask, then latents of the one image for all",
        Calling(
            fixed=_FIXED,
            guidance=_GUIDANCE,
            # The pipeline reads text only where ftfy is installed, which it imports if it can and needs in any case.
            embed=lambda prompts: text.embedded(prompts, length=48),
            inputs=lambda _: {"image": pictures(1, side=64)},
        ),
    ),
    _row("wan-token-timesteps", _token_timesteps, "the timestep argument has a number for each token"),
)
