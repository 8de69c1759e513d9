"""Whole numbers as labels, annotations and indices hold them: text that anybody may have written."""

from __future__ import annotations

from typing import Final

MOST_DIGITS: Final = 15
"""No count has more; of thousands of digits Python makes no number at all."""


def read_number(text: object) -> int | None:
    """Reads a number that is not negative; None for what is none."""
    if not isinstance(text, str) or not text.isdecimal() or len(text) > MOST_DIGITS:
        return None
    return int(text)
