"""Images from transformers like FLUX: joint blocks, then single ones, over tokens with rotary positions."""

from __future__ import annotations

from typing import Final

import torch

from support.denoisers.row import ROWS, WORDS, Row, positions
from support.denoisers.shrinking import WIDTH
from support.requests import tensor

_TOKENS: Final = (ROWS, 16, 16)
_IDS: Final = ("encoder_hidden_states", "img_ids", "txt_ids")

DENOISERS: Final = (
    Row(
        "BriaFiboTransformer2DModel",
        _TOKENS,
        _IDS,
        {"text_encoder_dim": WIDTH // 2},
        lambda: {
            "text_encoder_layers": [tensor(seed, ROWS, WORDS, WIDTH // 2) for seed in range(4)],
        },
    ),
    Row("BriaTransformer2DModel", _TOKENS, _IDS),
    Row(
        "Flux2Transformer2DModel",
        _TOKENS,
        ("encoder_hidden_states", "guidance"),
        {},
        lambda: {
            "img_ids": positions(4, 4, axes=4).expand(ROWS, -1, -1),
            "txt_ids": positions(WORDS, axes=4).expand(ROWS, -1, -1),
        },
    ),
    Row(
        "Flux3Transformer2DModel",
        _TOKENS,
        ("encoder_hidden_states",),
        {"cond_in_channels": 16},
        lambda: {
            "img_ids": positions(4, 4, axes=4),
            "txt_ids": positions(WORDS, axes=4),
            "image_cond_hidden_states": tensor(3, *_TOKENS),
            "image_cond_ids": positions(4, 4, axes=4) + 4,
        },
    ),
    Row(
        "HunyuanImageTransformer2DModel",
        (ROWS, 16, 4, 4),
        ("encoder_hidden_states", "encoder_attention_mask"),
    ),
    Row("LongCatImageTransformer2DModel", _TOKENS, _IDS),
    Row("OvisImageTransformer2DModel", _TOKENS, _IDS),
    Row(
        "QwenImage21Transformer2DModel",
        (ROWS, 16, 16),
        ("encoder_hidden_states", "encoder_hidden_states_mask"),
        {},
        lambda: {
            "img_shapes": [[(1, 4, 4)]] * ROWS,
            "img_mask": (torch.arange(WORDS + 4) >= WORDS).expand(ROWS, -1),
        },
    ),
    Row(
        "HiDreamImageTransformer2DModel",
        (ROWS, 4, 8, 8),
        (),
        {
            "patch_size": 2,
            "in_channels": 4,
            "caption_channels": [WIDTH, WIDTH],
            "llama_layers": [0, 1, 2, 3],
            "axes_dims_rope": (8, 4, 4),
            "max_resolution": (16, 16),
        },
        lambda: {
            "encoder_hidden_states_t5": tensor(3, ROWS, WORDS, WIDTH),
            "encoder_hidden_states_llama3": tensor(4, 4, ROWS, WORDS, WIDTH),
            "pooled_embeds": tensor(5, ROWS, WIDTH),
        },
        timestep_name="timesteps",
    ),
)
