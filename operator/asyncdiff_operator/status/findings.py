"""A finding: one of the closed list of reasons, and in plain words what was found in this very case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncdiff_api.formats.conditions import REASONS, Reason

MOST_CHARACTERS: Final = 1024
"""Of what was found; texts of pods and of the API server may be of any length."""
_NO_REMEDY: Final = "Nothing to do."


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason and its case."""

    reason: Reason
    detail: str = ""
    """A sentence; empty where the reason's own says it all."""

    @property
    def message(self) -> str:
        """Says what was found and what to do about it."""
        remedy = REASONS[self.reason].remedy
        return self.found if remedy == _NO_REMEDY else f"{self.found} {remedy}"

    @property
    def found(self) -> str:
        """Says what was found."""
        return sentence(self.detail) if self.detail else REASONS[self.reason].cause


def sentence(text: str) -> str:
    """Makes any text one line of bounded length that ends like a sentence."""
    line = " ".join(text.split())
    if len(line) > MOST_CHARACTERS:
        return line[: MOST_CHARACTERS - 1] + "…"
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."
