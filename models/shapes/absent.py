"""A third text encoder for SD3 that says nothing, so that its pipeline loads without special arguments.

`StableDiffusion3Pipeline` puts zeros in place of an encoder that is None, but a folder cannot say None: diffusers
then misses the part. This T5 gives exactly those zeros, whatever it is told, and costs next to nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5EncoderModel

if TYPE_CHECKING:
    from pathlib import Path

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
LENGTH = 256
"""Tokens that the pipeline asks for unless told otherwise."""


def write_absent_encoder(folder: Path, width: int) -> None:
    """Writes `text_encoder_3` and `tokenizer_3` into a pipeline's folder.

    Args:
        folder: The pipeline's folder.
        width: Channels of the embeddings that the transformer expects.
    """
    config = T5Config(
        vocab_size=4, d_model=width, d_kv=8, d_ff=8, num_layers=1, num_heads=1, pad_token_id=0, eos_token_id=1
    )
    encoder = T5EncoderModel(config)
    torch.nn.init.zeros_(encoder.encoder.final_layer_norm.weight)
    encoder.save_pretrained(folder / "text_encoder_3")
    _write_tokenizer(folder / "tokenizer_3")


def _write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [(PAD, 0.0), (END, 0.0), (UNKNOWN, 0.0), ("▁", -1.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.add_special_tokens([PAD, END, UNKNOWN])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", END], pair=["$A", END, "$B", END], special_tokens=[(END, 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": END, "unk_token": UNKNOWN, "pad_token": PAD}
    settings = {"tokenizer_class": "T5TokenizerFast", "model_max_length": LENGTH, "extra_ids": 0, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
