"""Autoencoders: images are twice as high and wide as their latents, so that 32 × 32 pixels are enough."""

from __future__ import annotations

from typing import Any, Final

import diffusers

from support.pipelines.weights import seeded

SCALE: Final = 2
"""Pixels a side of one latent."""


def image_autoencoder(*, seed: int, latent_channels: int = 4, levels: int = 2, **options: Any) -> Any:
    """An AutoencoderKL of that many levels; each level but the first halves the image."""
    channels = (16, 32, 32)[:levels]
    return seeded(
        lambda: diffusers.AutoencoderKL(
            block_out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            latent_channels=latent_channels,
            norm_num_groups=4,
            sample_size=32,
            force_upcast=False,
            **options,
        ),
        seed,
    )


def wan_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLWan with its 16 latent channels: a frame's side is 8 latents', four frames are one latent."""
    return seeded(
        lambda: diffusers.AutoencoderKLWan(
            base_dim=4,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
        seed,
    )
