"""Videos from transformers."""

from __future__ import annotations

from typing import Final

import torch

from support.denoisers.row import ROWS, WORDS, Row, mask, positions, prompts
from support.denoisers.shrinking import WIDTH
from support.requests import tensor

_LATENT: Final = (ROWS, 16, 2, 8, 8)
_PROMPT: Final = ("encoder_hidden_states",)
_MASKED: Final = ("encoder_hidden_states", "encoder_attention_mask")

DENOISERS: Final = (
    Row(
        "AllegroTransformer3DModel",
        (ROWS, 4, 2, 8, 8),
        _MASKED,
        {
            "sample_height": 8,
            "sample_width": 8,
            "sample_frames": 2,
            "attention_head_dim": 24,
            "cross_attention_dim": 48,
        },
        lambda: {
            "attention_mask": torch.ones(ROWS, 2, 8, 8),
            "image_rotary_emb": (
                tuple((tensor(axis, 4, 8), tensor(3 + axis, 4, 8)) for axis in range(3)),
                torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(4))
                .T[:, None]
                .expand(-1, ROWS, -1),
            ),
        },
    ),
    Row(
        "AnyFlowTransformer3DModel",
        (ROWS, 2, 16, 8, 8),
        _PROMPT,
        {},
        lambda: {"timestep": torch.full((ROWS, 2), 700.0), "r_timestep": torch.full((ROWS, 2), 600.0)},
    ),
    Row(
        "AnyFlowFARTransformer3DModel",
        (ROWS, 4, 16, 8, 8),
        _PROMPT,
        {"chunk_partition": (1, 3), "full_chunk_limit": 2},
        lambda: {
            "timestep": torch.full((ROWS, 4), 700.0),
            "r_timestep": torch.full((ROWS, 4), 600.0),
            "chunk_partition": (1, 3),
        },
    ),
    Row("ChronoEditTransformer3DModel", _LATENT, _PROMPT, {"rope_max_seq_len": 32}),
    Row(
        "ConsisIDTransformer3DModel",
        (ROWS, 2, 16, 8, 8),
        _PROMPT,
        {
            "sample_width": 8,
            "sample_height": 8,
            "sample_frames": 5,
            "max_text_seq_length": WORDS,
            "is_train_face": True,
            "num_attention_heads": 3,
            "cross_attn_dim_head": 16,
            "cross_attn_num_heads": 2,
            "LFE_id_dim": WIDTH,
            "LFE_vit_dim": WIDTH,
            "LFE_depth": 5,
            "LFE_dim_head": 8,
            "LFE_num_heads": 2,
            "LFE_num_id_token": 2,
            "LFE_num_querie": 4,
            "LFE_output_dim": WIDTH,
        },
        lambda: {
            "id_cond": tensor(3, ROWS, WIDTH),
            "id_vit_hidden": [tensor(4 + at, ROWS, 5, WIDTH) for at in range(5)],
        },
    ),
    Row(
        "CosmosTransformer3DModel",
        _LATENT,
        _PROMPT,
        {"max_size": (4, 16, 16), "concat_padding_mask": False},
        lambda: {"fps": 16},
    ),
    Row(
        "EasyAnimateTransformer3DModel",
        _LATENT,
        _PROMPT,
        {"in_channels": 16, "out_channels": 16, "patch_size": 2, "sample_width": 8, "sample_height": 8},
    ),
    Row("HeliosTransformer3DModel", _LATENT, _PROMPT),
    Row(
        "HunyuanVideo15Transformer3DModel",
        _LATENT,
        _MASKED,
        {
            "in_channels": 16,
            "out_channels": 16,
            "text_embed_2_dim": WIDTH,
            "image_embed_dim": WIDTH,
            "target_size": 16,
        },
        lambda: {
            "encoder_hidden_states_2": prompts(),
            "encoder_attention_mask_2": mask(),
            "image_embeds": tensor(4, ROWS, 5, WIDTH),
        },
    ),
    Row(
        "HunyuanVideoFramepackTransformer3DModel",
        _LATENT,
        (*_MASKED, "pooled_projections", "guidance"),
        {"has_image_proj": True, "image_proj_dim": WIDTH, "has_clean_x_embedder": True},
        lambda: {
            "image_embeds": tensor(4, ROWS, 5, WIDTH),
            "indices_latents": torch.arange(7, 9),
            "latents_clean": tensor(5, ROWS, 16, 1, 8, 8),
            "indices_latents_clean": torch.arange(6, 7),
            "latents_history_2x": tensor(6, ROWS, 16, 2, 8, 8),
            "indices_latents_history_2x": torch.arange(4, 6),
            "latents_history_4x": tensor(7, ROWS, 16, 4, 8, 8),
            "indices_latents_history_4x": torch.arange(4),
        },
    ),
    Row(
        "Kandinsky5Transformer3DModel",
        (ROWS, 2, 8, 8, 4),
        ("encoder_hidden_states", "pooled_projections"),
        {},
        lambda: {
            "visual_rope_pos": [torch.arange(size) for size in (2, 4, 4)],
            "text_rope_pos": torch.arange(WORDS),
        },
    ),
    Row(
        "Kandinsky6Transformer3DModel",
        (ROWS, 2, 8, 8, 16),
        ("encoder_hidden_states", "pooled_projections"),
        {"visual_cond": False},
    ),
    Row("Kandinsky6SRTransformer3DModel", (ROWS, 2, 8, 8, 9), (), {"in_visual_dim": 4, "out_visual_dim": 4}),
    Row(
        "LatteTransformer3DModel",
        (ROWS, 4, 3, 8, 8),
        _PROMPT,
        {
            "in_channels": 4,
            "out_channels": 8,
            "patch_size": 2,
            "sample_size": 8,
            "video_length": 3,
            "caption_channels": WIDTH,
            "norm_type": "ada_norm_single",
            "num_embeds_ada_norm": 1000,
            "cross_attention_dim": WIDTH,
            "norm_elementwise_affine": False,
        },
    ),
    Row(
        "MiniMaxH3Transformer3DModel",
        (1, 16, 16),
        (),
        {"in_channels": 4, "audio_in_channels": 8, "rope_freq_dim": 2},
        lambda: {
            "audio_hidden_states": tensor(3, 1, 6, 8),
            "encoder_hidden_states": tensor(2, 1, WORDS, WIDTH),
            "timestep": torch.tensor([0.0, 0.7]),
            "timestep_indices": torch.tensor([0] * WORDS + [1] * 22),
            "token_tags": torch.tensor([2] * WORDS + [0] * 16 + [1] * 6),
            "position_ids": positions(WORDS + 22, axes=3),
            "text_indices": torch.arange(WORDS),
            "video_indices": torch.arange(16) + WORDS,
            "audio_indices": torch.arange(6) + WORDS + 16,
        },
    ),
    Row("MochiTransformer3DModel", (ROWS, 12, 2, 8, 8), _MASKED),
    Row("MotifVideoTransformer3DModel", _LATENT, _MASKED, {"in_channels": 16}),
    Row("SanaVideoTransformer3DModel", _LATENT, _MASKED, {"sample_size": 8}),
    Row(
        "SanaWMLTX2RefinerTransformer3DModel",
        (ROWS, 16, 16),
        _MASKED,
        {
            "audio_in_channels": 8,
            "audio_out_channels": 8,
            "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 8,
            "audio_cross_attention_dim": 16,
        },
        lambda: {"video_rotary_emb": (tensor(4, ROWS, 16, WIDTH), tensor(5, ROWS, 16, WIDTH))},
    ),
    Row(
        "SanaWMTransformer3DModel",
        _LATENT,
        _MASKED,
        {"linear_head_dim": 16, "chunk_plucker_post_attn_blocks": 2, "softmax_every_n": 2},
        lambda: {"timestep": torch.full((ROWS, 1, 2), 700.0)},
    ),
    Row("SkyReelsV2Transformer3DModel", _LATENT, _PROMPT, {"rope_max_seq_len": 32}),
    Row(
        "WanAnimateTransformer3DModel",
        (ROWS, 36, 3, 8, 8),
        _PROMPT,
        {
            "in_channels": 36,
            "image_dim": WIDTH,
            "rope_max_seq_len": 32,
            "motion_encoder_channel_sizes": {"4": 16, "8": 16, "16": 16},
            "motion_encoder_size": 16,
            "motion_style_dim": 16,
            "motion_dim": 4,
            "motion_encoder_dim": 16,
            "face_encoder_hidden_dim": 16,
            "face_encoder_num_heads": 2,
            "inject_face_latents_blocks": 2,
        },
        lambda: {
            "encoder_hidden_states_image": tensor(3, ROWS, 5, WIDTH),
            "pose_hidden_states": tensor(4, ROWS, 16, 2, 8, 8),
            "face_pixel_values": tensor(5, ROWS, 3, 5, 16, 16),
        },
    ),
    Row(
        "WanVACETransformer3DModel",
        _LATENT,
        _PROMPT,
        {"vace_layers": [0, 1], "vace_in_channels": 24, "rope_max_seq_len": 32},
        lambda: {"control_hidden_states": tensor(3, ROWS, 24, 2, 8, 8)},
    ),
)
