"""Tokenizers and text encoders: the real classes at tiny size, reading any text byte by byte."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import tokenizers
import torch
import transformers

from support.pipelines.weights import seeded

WIDTH: Final = 32
"""Channels of every text embedding."""

LONGEST: Final = 77
"""Most tokens of a prompt."""

_PAD: Final = "<pad>"
_BEGIN: Final = "<begin>"
_END: Final = "<end>"
_BYTES: Final = 256
# After the bytes and the end last, as in CLIP's vocabulary: with small numbers CLIPTextModel pools as its first,
# mistaken configurations did, at the largest token.
_SPECIAL: Final = (_PAD, _BEGIN, _END)
_VOCABULARY: Final = _BYTES + len(_SPECIAL)
_NUMBERS: Final[dict[str, Any]] = {
    "vocab_size": _VOCABULARY,
    "pad_token_id": _BYTES + _SPECIAL.index(_PAD),
    "bos_token_id": _BYTES + _SPECIAL.index(_BEGIN),
    "eos_token_id": _BYTES + _SPECIAL.index(_END),
}


def tokenizer(*, begin: bool = True) -> Any:
    """A tokenizer with one token a byte; `begin` puts a start token first, as CLIP's does."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate((*alphabet, *_SPECIAL))}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{_BEGIN} $A {_END}" if begin else f"$A {_END}",
        special_tokens=[(_BEGIN, vocabulary[_BEGIN]), (_END, vocabulary[_END])],
    )
    make: Any = transformers.PreTrainedTokenizerFast
    return make(
        tokenizer_object=backend,
        model_max_length=LONGEST,
        pad_token=_PAD,
        bos_token=_BEGIN,
        eos_token=_END,
    )


def embedded(prompts: Sequence[str], *, length: int) -> torch.Tensor:
    """Embeddings (prompts, length, WIDTH) drawn from each text, for pipelines that cannot read it themselves."""
    return torch.stack([_drawn(prompt, length) for prompt in prompts])


def _drawn(prompt: str, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
    return torch.randn(length, WIDTH, generator=generator)


def clip(*, seed: int, projected: bool = False) -> Any:
    """A CLIPTextModel, or one with projection, for sequences of LONGEST tokens."""
    config = transformers.CLIPTextConfig(
        **_NUMBERS,
        hidden_size=WIDTH,
        intermediate_size=37,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
    )
    make = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return seeded(lambda: make(config), seed)


def t5(*, seed: int, width: int = WIDTH) -> Any:
    """A T5EncoderModel."""
    return seeded(lambda: transformers.T5EncoderModel(_t5_config(transformers.T5Config, width)), seed)


def umt5(*, seed: int) -> Any:
    """A UMT5EncoderModel, the text encoder of Wan."""
    return seeded(lambda: transformers.UMT5EncoderModel(_t5_config(transformers.UMT5Config, WIDTH)), seed)


def language_model(family: str, *, seed: int, width: int = WIDTH, layers: int = 2) -> Any:
    """The decoder that `family` names in transformers (Gemma2, Llama, Qwen3), as newer pipelines read prompts with."""
    config = getattr(transformers, f"{family}Config")(
        **_NUMBERS,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
    )
    return seeded(lambda: getattr(transformers, f"{family}Model")(config), seed)


def qwen_vision_language(*, seed: int) -> Any:
    """A Qwen2_5_VLForConditionalGeneration, the text encoder of Qwen-Image."""
    reading = {
        **_NUMBERS,
        "hidden_size": WIDTH,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }
    seeing = {
        "depth": 1,
        "hidden_size": WIDTH,
        "intermediate_size": 37,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
    }
    config = transformers.Qwen2_5_VLConfig(text_config=reading, vision_config=seeing)
    return seeded(lambda: transformers.Qwen2_5_VLForConditionalGeneration(config), seed)


def _t5_config(config: Any, width: int) -> Any:
    return config(
        **_NUMBERS,
        d_model=width,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
    )
