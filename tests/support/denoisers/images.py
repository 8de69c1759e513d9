"""Images from further transformers."""

from __future__ import annotations

from typing import Final

import torch

from support.denoisers.row import ROWS, WORDS, Row, mask, positions, prompts
from support.denoisers.shrinking import WIDTH
from support.requests import tensor

_LATENT: Final = (ROWS, 4, 8, 8)
_PROMPT: Final = ("encoder_hidden_states",)
_MASKED: Final = ("encoder_hidden_states", "encoder_attention_mask")


def _sizes() -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor([[64.0, 64.0], [64.0, 32.0]])
        for name in ("original_size", "target_size", "crop_coords")
    }


DENOISERS: Final = (
    Row("AuraFlowTransformer2DModel", _LATENT, _PROMPT, {"sample_size": 8, "pos_embed_max_size": 64}),
    Row(
        "BriaFibo2Transformer2DModel",
        _LATENT,
        ("encoder_attention_mask",),
        {
            "in_channels": 4,
            "injection_layer_ids": (1,),
            "min_num_gist_tokens": 2,
            "max_num_gist_tokens": 4,
            "gist_step": 1,
            "gist_min_text_len": 4,
            "gist_max_text_len": 8,
            "axes_lens": (64, 32, 32),
        },
        lambda: {"encoder_hidden_states": tensor(2, ROWS, 2, WORDS, WIDTH)},
    ),
    Row(
        "CogView3PlusTransformer2DModel",
        _LATENT,
        _PROMPT,
        {"in_channels": 4, "out_channels": 4, "pos_embed_max_size": 8, "sample_size": 8},
        _sizes,
    ),
    Row(
        "CogView4Transformer2DModel",
        _LATENT,
        _PROMPT,
        {"in_channels": 4, "out_channels": 4, "pos_embed_max_size": 8, "sample_size": 8},
        _sizes,
    ),
    Row(
        "DiTTransformer2DModel",
        _LATENT,
        ("class_labels",),
        {"norm_num_groups": 8, "sample_size": 8, "num_embeds_ada_norm": 10},
    ),
    Row(
        "ErnieImageTransformer2DModel",
        _LATENT,
        (),
        {"in_channels": 4, "out_channels": 4},
        lambda: {"text_bth": tensor(2, ROWS, WORDS, WIDTH), "text_lens": torch.tensor([WORDS, WORDS - 2])},
    ),
    Row(
        "GlmImageTransformer2DModel",
        _LATENT,
        _PROMPT,
        {"in_channels": 4, "out_channels": 4, "prior_vq_quantizer_codebook_size": 16},
        lambda: {
            "prior_token_id": torch.arange(ROWS * 16).view(ROWS, 16) % 16,
            "prior_token_drop": torch.zeros(ROWS, 16, dtype=torch.bool),
            "target_size": torch.tensor([[8.0, 8.0]] * ROWS),
            "crop_coords": torch.zeros(ROWS, 2),
        },
    ),
    Row(
        "HunyuanDiT2DModel",
        _LATENT,
        _PROMPT,
        {
            "in_channels": 4,
            "patch_size": 2,
            "sample_size": 8,
            "activation_fn": "gelu-approximate",
            "text_len": WORDS,
            "text_len_t5": WORDS,
        },
        lambda: {
            "text_embedding_mask": mask(),
            "encoder_hidden_states_t5": tensor(3, ROWS, WORDS, WIDTH),
            "text_embedding_mask_t5": mask(),
            "image_meta_size": torch.tensor([[64.0, 64, 64, 64, 0, 0]] * ROWS),
            "style": torch.zeros(ROWS, dtype=torch.long),
            "image_rotary_emb": (tensor(4, 16, 16), tensor(5, 16, 16)),
        },
    ),
    Row(
        "Ideogram4Transformer2DModel",
        (ROWS, WORDS + 16, 16),
        (),
        {"mrope_section": (4, 2, 2)},
        lambda: {
            "encoder_hidden_states": prompts(WORDS + 16),
            "position_ids": positions(WORDS + 16, axes=3).expand(ROWS, -1, -1),
            "segment_ids": torch.ones(ROWS, WORDS + 16, dtype=torch.long),
            "indicator": torch.tensor([3] * WORDS + [2] * 16).expand(ROWS, -1),
        },
    ),
    Row(
        "Krea2Transformer2DModel",
        (ROWS, 16, 16),
        ("encoder_attention_mask",),
        {"num_text_layers": 3},
        lambda: {
            "encoder_hidden_states": tensor(2, ROWS, WORDS, 3, WIDTH),
            "position_ids": positions(WORDS + 16, axes=3),
        },
    ),
    Row(
        "LuminaNextDiT2DModel",
        _LATENT,
        _PROMPT,
        {"sample_size": 8, "multiple_of": 16, "num_kv_heads": 2},
        lambda: {
            "cross_attention_kwargs": {},
            "encoder_mask": mask(),
            "image_rotary_emb": torch.polar(torch.ones(8, 8, 8), tensor(4, 8, 8, 8)),
        },
    ),
    Row(
        "NucleusMoEImageTransformer2DModel",
        (ROWS, 16, 16),
        ("encoder_hidden_states", "encoder_hidden_states_mask"),
        {"num_experts": 4, "out_channels": 4, "num_layers": 5, "mlp_ratio": 8.0, "capacity_factors": 2.0},
        lambda: {"img_shapes": [(1, 4, 4)] * ROWS},
    ),
    Row(
        "OmniGenTransformer2DModel",
        (1, 4, 8, 8),
        (),
        {
            "pad_token_id": 0,
            "vocab_size": 64,
            "max_position_embeddings": 128,
            "pos_embed_max_size": 8,
            "rope_scaling": {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
        },
        lambda: {
            "timestep": torch.full((1,), 0.7),
            "input_ids": torch.arange(WORDS)[None],
            "input_img_latents": [],
            "input_image_sizes": {},
            "attention_mask": torch.ones(1, WORDS + 17, WORDS + 17, dtype=torch.long),
            "position_ids": torch.arange(WORDS + 17)[None],
        },
    ),
    Row(
        "PriorTransformer",
        (ROWS, WIDTH),
        ("encoder_hidden_states", "attention_mask"),
        {"embedding_dim": WIDTH, "num_embeddings": WORDS},
        lambda: {"proj_embedding": tensor(3, ROWS, WIDTH)},
    ),
    Row(
        "PRXTransformer2DModel",
        _LATENT,
        ("encoder_hidden_states", "attention_mask"),
        {"in_channels": 4, "axes_dim": [8, 8]},
    ),
    Row(
        "Transformer2DModel",
        _LATENT,
        ("encoder_hidden_states",),
        {"in_channels": 4, "norm_num_groups": 2, "cross_attention_dim": WIDTH},
    ),
    Row(
        "DreamLiteTransformer2DModel",
        _LATENT,
        ("encoder_hidden_states",),
        {"in_channels": 4, "norm_num_groups": 2, "cross_attention_dim": WIDTH},
    ),
    Row("JoyImageEditTransformer3DModel", (ROWS, 4, 2, 8, 8), _PROMPT, {"in_channels": 4}),
    Row(
        "JoyImageEditPlusTransformer3DModel",
        (ROWS, 32, 4, 1, 2, 2),
        ("encoder_hidden_states", "encoder_hidden_states_mask"),
        {"in_channels": 4},
        lambda: {"shape_list": [[(1, 4, 4), (1, 4, 4)]] * ROWS},
    ),
)
