"""A CLIP tokenizer that holds the words of the scenes whole and spells out the others.

Its files are in the repository, since making them anew may number the words anew: pairs of letters that are equally
common come in any order. After a change of the words, `PYTHONPATH=models python -m shapes.tokens` makes new files,
and every model must then be trained from nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from shapes.prompts import words_known

FOLDER = Path(__file__).parent / "tokenizer"

LENGTH = 40
"""Tokens of a prompt, start and end included; the longest sentence with three things needs 36."""

START, END = "<|startoftext|>", "<|endoftext|>"


def load_tokenizer() -> CLIPTokenizer:
    """The tokenizer of all our models."""
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(FOLDER)
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Writes the tokenizer's files, and nothing else, into a folder: those that every release of transformers reads."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FOLDER, folder)


def make_tokenizer() -> None:
    """Makes vocabulary, merges and settings anew, as `CLIPTokenizer` reads them in every release."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _byte_pairs()
    (FOLDER / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n")
    (FOLDER / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    names = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
        **names,
    }
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (FOLDER / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")


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


if __name__ == "__main__":
    make_tokenizer()
