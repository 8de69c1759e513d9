"""What stands for a tokenizer whose vocabulary is not there: as many tokens as the text encoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

LONGEST: Final = 100_000
"""A larger `model_max_length` means that the tokenizer knows no bound."""
UNBOUNDED: Final = 512
"""Tokens of a text where neither the pipeline nor the tokenizer says how many."""


class Tokens:
    """Gives tokens in the number in which a tokenizer would give them, padded; all are the same.

    Attributes:
        model_max_length: most tokens of a text.
    """

    added_tokens_encoder: dict[str, int]

    def __init__(self, config: dict[str, Any]) -> None:
        """Stands for the tokenizer of that `tokenizer_config.json`."""
        length = int(config.get("model_max_length") or LONGEST)
        self.model_max_length = length if length < LONGEST else UNBOUNDED
        self.padding_side = "right"
        self.pad_token_id = self.eos_token_id = self.bos_token_id = 0
        self.added_tokens_encoder = {}

    def __call__(
        self,
        text: str | Sequence[str],
        *_: object,
        max_length: int | None = None,
        padding: bool | str = False,
        truncation: bool | str = False,
        **__: object,
    ) -> Any:
        """Gives ids and mask of each text, `(texts, tokens)`."""
        import torch
        from transformers import BatchEncoding

        # Without bounds, pipelines only ask whether a text was too long.
        unbounded = padding == "longest" and not truncation and max_length is None
        tokens = 1 if unbounded else max_length or self.model_max_length
        shape = (1 if isinstance(text, str) else len(text), tokens)
        ids = torch.zeros(shape, dtype=torch.int64)
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def tokenize(self, text: str) -> list[str]:
        """Gives the words of a text, for those who look for placeholders among them."""
        return text.split()

    def batch_decode(self, ids: Sequence[object], **_: object) -> list[str]:
        """Gives no text for ids."""
        return [""] * len(ids)

    def apply_chat_template(self, messages: object, **_: object) -> str:
        """Gives a conversation as one text."""
        return str(messages)
