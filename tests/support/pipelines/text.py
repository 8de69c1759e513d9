"""Tokenizers and text encoders: the real classes at tiny size, reading any text byte by byte."""

from __future__ import annotations

from typing import Any, Final

import tokenizers
import transformers

from support.pipelines.weights import seeded

WIDTH: Final = 32
"""Channels of every text embedding."""

LONGEST: Final = 77
"""Most tokens of a prompt."""

_PAD: Final = "<pad>"
_BEGIN: Final = "<begin>"
_END: Final = "<end>"
_SPECIAL: Final = (_PAD, _BEGIN, _END)
_VOCABULARY: Final = len(_SPECIAL) + 256


def tokenizer(*, begin: bool = True) -> Any:
    """A tokenizer with one token a byte; `begin` puts a start token first, as CLIP's does."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate((*_SPECIAL, *alphabet))}
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


def clip(*, seed: int, projected: bool = False) -> Any:
    """A CLIPTextModel, or one with projection, for sequences of LONGEST tokens."""
    config = transformers.CLIPTextConfig(
        vocab_size=_VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=37,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        pad_token_id=_SPECIAL.index(_PAD),
        bos_token_id=_SPECIAL.index(_BEGIN),
        eos_token_id=_SPECIAL.index(_END),
    )
    make = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return seeded(lambda: make(config), seed)


def t5(*, seed: int, width: int = WIDTH) -> Any:
    """A T5EncoderModel."""
    return seeded(lambda: transformers.T5EncoderModel(_t5_config(transformers.T5Config, width)), seed)


def umt5(*, seed: int) -> Any:
    """A UMT5EncoderModel, the text encoder of Wan."""
    return seeded(lambda: transformers.UMT5EncoderModel(_t5_config(transformers.UMT5Config, WIDTH)), seed)


def _t5_config(config: Any, width: int) -> Any:
    return config(
        vocab_size=_VOCABULARY,
        d_model=width,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        pad_token_id=_SPECIAL.index(_PAD),
        eos_token_id=_SPECIAL.index(_END),
    )
