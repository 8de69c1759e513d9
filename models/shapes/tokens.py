"""A CLIP tokenizer that holds the words of the scenes whole and spells out the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from shapes.prompts import words_known

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = 40
"""Tokens of a prompt, start and end included; the longest sentence with three things needs 36."""

START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Writes vocabulary, merges and settings as `CLIPTokenizer` reads them in every release, and reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _byte_pairs()
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    names = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer


def _byte_pairs() -> tuple[dict[str, int], list[str]]:
    """All bytes, within and at the end of a word, then pairs merged until every known word is one token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
    )
    tokenizer.train_from_iterator(words_known(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(pair) for pair in model["merges"]]
    pieces = [*base, *dict.fromkeys(merge.replace(" ", "") for merge in merges), START, END]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}, merges
