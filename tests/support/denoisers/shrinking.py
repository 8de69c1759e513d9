"""Configurations at tiny size, by rule from a class's own defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

LAYERS: Final = 2
HEADS: Final = 2
HEAD: Final = 16
WIDTH: Final = HEADS * HEAD
"""Of everything that has a width: tokens, prompts, embeddings."""

_LAYERS: Final = (
    "depth",
    "dit_depth",
    "mmdit_layers",
    "n_layers",
    "num_hidden_layers",
    "num_layers",
    "num_mmdit_layers",
    "num_single_dit_layers",
    "num_single_layers",
    "num_text_blocks",
    "num_visual_blocks",
)
_HEADS: Final = (
    "block_num_heads",
    "dit_heads",
    "n_heads",
    "n_kv_heads",
    "num_attention_heads",
    "num_cross_attention_heads",
    "num_heads",
    "num_key_value_attention_heads",
    "num_key_value_heads",
    "text_num_attention_heads",
    "text_num_key_value_heads",
)
_HEAD_SIZES: Final = ("attention_head_dim", "cross_attention_head_dim", "head_dim")
_WIDTHS: Final = (
    "adaln_dim",
    "adaln_lora_dim",
    "cap_feat_dim",
    "caption_channels",
    "caption_projection_dim",
    "cond_embed_dim",
    "cond_token_dim",
    "condition_dim",
    "context_dim",
    "context_in_dim",
    "cross_attention_dim",
    "cross_attention_dim_t5",
    "cross_attention_input_dim",
    "dim",
    "dit_dim",
    "dit_text_dim",
    "embed_dim",
    "encoder_hid_dim",
    "encoder_hidden_size",
    "fourier_embedding_dim",
    "freq_dim",
    "global_cond_dim",
    "global_states_input_dim",
    "hidden_size",
    "in_text_dim",
    "in_text_dim2",
    "joint_attention_dim",
    "llm_features_dim",
    "model_dim",
    "pooled_projection_dim",
    "text_dim",
    "text_emb_dim",
    "text_embed_dim",
    "text_hidden_dim",
    "text_in_dim",
    "time_dim",
    "time_embed_dim",
    "time_embed_hidden_dim",
    "time_embedding_dim",
    "time_proj_dim",
    "time_step_dim",
    "timestep_channels",
    "timestep_embed_dim",
    "timestep_features_dim",
    "timestep_guidance_channels",
)
_DOUBLE: Final = (
    "ff_dim",
    "ff_inner_dim",
    "ffn_dim",
    "ffn_hidden_size",
    "intermediate_size",
    "moe_intermediate_dim",
    "text_intermediate_size",
)
_CHANNELS: Final = ("in_channels", "out_channels")
_AXES: Final = (
    "axes_dim_rope",
    "axes_dims",
    "axes_dims_rope",
    "rope_axes_dim",
    "rope_dim",
    "rope_dim_list",
)
_SINGLE: Final = (
    "n_refiner_layers",
    "num_layerwise_text_blocks",
    "num_refiner_layers",
    "num_refiner_text_blocks",
    "perceiver_num_layers",
)
_MOST_CHANNELS: Final = 16

_SIZES: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(_LAYERS, LAYERS)
    | dict.fromkeys(_HEADS, HEADS)
    | dict.fromkeys(_HEAD_SIZES, HEAD)
    | dict.fromkeys(_WIDTHS, WIDTH)
    | dict.fromkeys(_DOUBLE, 2 * WIDTH)
    | dict.fromkeys(_SINGLE, 1)
)


def shrunk(kind: type) -> dict[str, Any]:
    """Keyword arguments for a class whose own defaults are of real size.

    Layers, heads and widths are set by the parameter's name, where its default is a larger number; channels are cut
    down; rotary axes keep their proportions and add up to a head. What has another name or no default is left out.
    """
    parameters = inspect.signature(inspect.unwrap(kind.__init__)).parameters.values()  # type: ignore[misc]  # -- read only
    found = {parameter.name: _smaller(parameter.name, parameter.default) for parameter in parameters}
    return {name: value for name, value in found.items() if value is not None}


def axes(proportions: Sequence[int], head: int = HEAD) -> tuple[int, ...]:
    """Even numbers that add up to `head`, as nearly in the given proportions as they can be."""
    pairs, whole = head // 2, sum(proportions)
    shares = [part * pairs / whole for part in proportions]
    found = [max(1, int(share)) for share in shares]
    while sum(found) < pairs:
        short = [share - got for share, got in zip(shares, found, strict=True)]
        found[short.index(max(short))] += 1
    return tuple(2 * part for part in found)


def _smaller(name: str, default: Any) -> Any:
    if name in _SIZES:
        return _SIZES[name] if isinstance(default, int) and default > _SIZES[name] else None
    if name in _CHANNELS:
        return _MOST_CHANNELS if isinstance(default, int) and default > _MOST_CHANNELS else None
    if name in _AXES and isinstance(default, list | tuple):
        return type(default)(axes(default))
    return None
