"""A line of a file with a mark under the part that is meant."""

from __future__ import annotations

from asyncdiff_api.files.documents import Place
from rich.cells import cell_len
from rich.text import Text

WIDTH = 100
"""Characters shown of a line; a longer one is cut around the marked part."""


def excerpt(lines: list[str], place: Place) -> Text:
    """Gives the line that a place is on and, below it, carets under the place.

    Args:
        lines: The file's lines.
        place: What to mark. A place past the end of the file marks nothing, and the text is empty.
    """
    if not 1 <= place.line <= len(lines):
        return Text()
    line = lines[place.line - 1].rstrip()
    start = max(0, place.column - 1 - WIDTH // 2) if len(line) > WIDTH else 0
    shown = _printable(line[start : start + WIDTH])
    before = _printable(line[start : place.column - 1])
    marked = _printable(line[place.column - 1 : min(place.column - 1 + place.width, start + WIDTH)])
    number = f"{place.line:>5} | "
    return Text.assemble(
        (number, "dim"),
        f"{'…' if start else ''}{shown}{'…' if start + WIDTH < len(line) else ''}\n",
        (" " * 5 + " | ", "dim"),
        " " * (cell_len(before) + (1 if start else 0)),
        ("^" * max(1, cell_len(marked)), "bold red"),
    )


def _printable(text: str) -> str:
    """Replaces what would move the cursor, so that the marks stay under what they mark."""
    return "".join(character if character.isprintable() else " " for character in text)
