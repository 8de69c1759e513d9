"""Sound and music from transformers."""

from __future__ import annotations

from typing import Final

import torch

from support.denoisers.row import ROWS, Row, prompts
from support.denoisers.shrinking import WIDTH
from support.requests import tensor

DENOISERS: Final = (
    Row(
        "AceStepTransformer1DModel",
        (ROWS, 16, 8),
        ("encoder_hidden_states",),
        {"in_channels": 24, "audio_acoustic_hidden_dim": 8},
        lambda: {"timestep_r": torch.full((ROWS,), 600.0), "context_latents": tensor(3, ROWS, 16, 16)},
    ),
    Row("LongCatAudioDiTTransformer", (ROWS, 16, 64), ("encoder_hidden_states", "encoder_attention_mask")),
    Row(
        "MiniMaxMusic3Transformer1DModel",
        (ROWS, 16, 16),
        (),
        {"rotary_dim": 8},
        lambda: {"encoder_hidden_states": prompts(16)},
    ),
    Row(
        "StableAudio3DiTModel",
        (ROWS, 16, 32),
        ("encoder_hidden_states",),
        {"io_channels": 16, "num_memory_tokens": 4, "local_add_cond_dim": 8},
        lambda: {"global_hidden_states": tensor(3, ROWS, WIDTH)},
    ),
    Row(
        "StableAudioDiTModel",
        (ROWS, 16, 32),
        ("encoder_hidden_states",),
        {"sample_size": 32},
        lambda: {"global_hidden_states": tensor(3, ROWS, 1, WIDTH)},
    ),
)
