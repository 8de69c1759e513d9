"""Sets of shard numbers as Kubernetes writes them: `0-41,43`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asyncdiff_operator.reading.numbers import read_number

MOST: Final = 100_000
"""Numbers from here on are no shards; a damaged text must not fill the memory."""


def read_runs(runs: Iterable[str]) -> frozenset[int]:
    """Reads runs such as `0-41` and `43`; what is no run is passed over."""
    found: set[int] = set()
    for run in runs:
        first, _, last = run.partition("-")
        begin, end = read_number(first), read_number(last or first)
        if begin is not None and end is not None:
            found.update(range(begin, min(end, MOST) + 1))
    return frozenset(found)


def read_indexes(text: str | None) -> frozenset[int]:
    """Reads `completedIndexes` or `failedIndexes` of a Job."""
    return read_runs((text or "").split(","))


def write_runs(numbers: Iterable[int]) -> tuple[str, ...]:
    """Gives the runs of a set of numbers in ascending order, the fewest there can be."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return tuple(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def name_shards(numbers: Iterable[int], most: int = 5) -> str:
    """Names shards in a sentence: `shard 3`, or `shards 0-2, 7 and 12 more`."""
    known = sorted(numbers)
    runs = write_runs(known)
    named = ", ".join(runs[:most])
    rest = len(known) - len(read_runs(runs[:most]))
    return f"shard{'s' if len(known) != 1 else ''} {named}{f' and {rest} more' if rest else ''}"


def capital(text: str) -> str:
    """Begins a sentence with a text."""
    return text[:1].upper() + text[1:]
