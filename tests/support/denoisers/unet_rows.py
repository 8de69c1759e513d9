"""UNets beyond those of the tiny pipelines."""

from __future__ import annotations

from typing import Final

import torch

from support.denoisers.row import ROWS, WORDS, Row
from support.denoisers.shrinking import WIDTH
from support.requests import tensor

_LATENT: Final = (ROWS, 4, 8, 8)
_FRAMES: Final = (ROWS, 4, 3, 8, 8)
_PROMPT: Final = ("encoder_hidden_states",)

_TWO_BLOCKS_3D: Final = {
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (16, 32),
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "layers_per_block": 1,
}

DENOISERS: Final = (
    Row(
        "DreamLiteUNetModel",
        _LATENT,
        _PROMPT,
        {
            "sample_size": 8,
            "block_out_channels": (16, 16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "attention_head_dim": 8,
        },
        latent_name="sample",
    ),
    Row(
        "I2VGenXLUNet",
        _FRAMES,
        _PROMPT,
        _TWO_BLOCKS_3D,
        lambda: {
            "fps": torch.tensor([8, 16]),
            "image_latents": tensor(3, *_FRAMES),
            "image_embeddings": tensor(4, ROWS, WIDTH),
        },
        latent_name="sample",
    ),
    Row(
        "Kandinsky3UNet",
        _LATENT,
        _PROMPT,
        {"groups": 2, "attention_head_dim": 4, "layers_per_block": 2, "block_out_channels": (16, 32)},
        lambda: {"encoder_attention_mask": torch.ones(ROWS, WORDS)},
        latent_name="sample",
    ),
    Row(
        "StableCascadeUNet",
        _LATENT,
        (),
        {
            "in_channels": 4,
            "out_channels": 4,
            "timestep_ratio_embedding_dim": 16,
            "conditioning_dim": WIDTH,
            "block_out_channels": (WIDTH, WIDTH),
            "num_attention_heads": (2, 2),
            "down_num_layers_per_block": (1, 1),
            "up_num_layers_per_block": (1, 1),
            "clip_text_in_channels": WIDTH,
            "clip_text_pooled_in_channels": WIDTH,
            "clip_image_in_channels": WIDTH,
            "dropout": (0.0, 0.0),
        },
        lambda: {
            "timestep_ratio": torch.full((ROWS,), 0.7),
            "clip_text_pooled": tensor(3, ROWS, 1, WIDTH),
            "clip_text": tensor(4, ROWS, WORDS, WIDTH),
            "clip_img": tensor(5, ROWS, 1, WIDTH),
        },
        latent_name="sample",
        timestep_name="timestep_ratio",
    ),
    Row("UNet1DModel", (ROWS, 2, 64), (), {"sample_size": 64, "extra_in_channels": 64}, latent_name="sample"),
    Row(
        "UNet2DModel",
        (ROWS, 3, 8, 8),
        (),
        {
            "sample_size": 8,
            "block_out_channels": (16, 32),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "norm_num_groups": 8,
            "layers_per_block": 1,
        },
        latent_name="sample",
    ),
    Row(
        "UNet3DConditionModel",
        _FRAMES,
        _PROMPT,
        _TWO_BLOCKS_3D,
        latent_name="sample",
    ),
)
