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


def qwen_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLQwenImage with its 16 latent channels; a side of the image is 8 latents'."""
    return seeded(
        lambda: diffusers.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
        seed,
    )


def ltx_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLLTXVideo of 8 latent channels: a frame's side is 4 latents', four frames are one latent."""
    return seeded(
        lambda: diffusers.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            patch_size=1,
        ),
        seed,
    )


def cogvideo_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLCogVideoX of 4 latent channels: a frame's side is 8 latents', four frames are one latent."""
    return seeded(
        lambda: diffusers.AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
        ),
        seed,
    )


def hunyuan_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLHunyuanVideo of 4 latent channels: a frame's side is 8 latents', four frames are one latent."""
    return seeded(
        lambda: diffusers.AutoencoderKLHunyuanVideo(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=4
        ),
        seed,
    )


def deep_compression_autoencoder(*, seed: int) -> Any:
    """An AutoencoderDC of 4 latent channels; a side of the image is 4 latents'."""
    return seeded(
        lambda: diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (5,), (5,)),
            decoder_qkv_multiscales=((), (5,), (5,)),
        ),
        seed,
    )


def ltx2_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLLTX2Video of 4 latent channels: a frame's side is 4 latents', two frames are one latent."""
    return seeded(
        lambda: diffusers.AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8,),
            down_block_types=("LTX2VideoDownBlock3D",),
            decoder_block_out_channels=(8,),
            layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            downsample_type=("spatiotemporal",),
            upsample_type=("spatiotemporal",),
            upsample_residual=(False,),
            upsample_factor=(1,),
            patch_size=2,
        ),
        seed,
    )


def audio_autoencoder(*, seed: int) -> Any:
    """An AutoencoderKLLTX2Audio of 2 latent channels: 8 mel bins are 2 latents."""
    return seeded(
        lambda: diffusers.AutoencoderKLLTX2Audio(
            base_channels=4,
            ch_mult=(1, 1, 1),
            num_res_blocks=1,
            resolution=32,
            latent_channels=2,
            mel_bins=8,
        ),
        seed,
    )
