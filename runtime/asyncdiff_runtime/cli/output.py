"""How commands speak: text for people, JSON for scripts."""

from __future__ import annotations

import json
from enum import StrEnum

from pydantic import JsonValue
from rich.console import Console


class Format(StrEnum):
    """What `--output` takes."""

    TEXT = "text"
    JSON = "json"


def console() -> Console:
    """Gives a console on standard output that prints data as it is: no markup, no colours of its own choice."""
    return Console(markup=False, highlight=False, soft_wrap=True)


def print_json(value: JsonValue) -> None:
    """Prints a value as indented JSON, its text unescaped."""
    console().print(json.dumps(value, indent=2, ensure_ascii=False))
