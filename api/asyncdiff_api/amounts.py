"""Numbers in words that people read at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue

from asyncdiff_api.formats.manifest import ItemCounts

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_BYTES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def counted(number: int, noun: str) -> str:
    """Gives `1 item` or `1,200 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def of_items(counts: ItemCounts) -> str:
    """Gives `40 of 64 items done, 1 failed`."""
    known = counted(counts.done if counts.total is None else counts.total, "item")
    done = f"{known} done" if counts.total is None else f"{counts.done:,} of {known} done"
    others = {
        "rejected": counts.rejected,
        "failed": counts.failed,
        "asked for more than once": counts.duplicates,
    }
    return ", ".join([done, *(f"{number:,} {what}" for what, number in others.items() if number)])


def rate(items_per_second: float) -> str:
    """Gives a rate in the unit in which it is no tiny number: items a second, a minute or an hour."""
    for factor, unit in ((1, "s"), (_MINUTE, "min")):
        if items_per_second * factor >= 0.1:
            return f"{_three_digits(items_per_second * factor)} items/{unit}"
    return f"{_three_digits(items_per_second * _HOUR)} items/h"


def seconds(value: float) -> str:
    """Gives `0.42 s`, `12 s`, `3 min 20 s` or `2 h 5 min`."""
    if value < _MINUTE:
        return f"{_three_digits(value)} s" if value < 10 else f"{value:.0f} s"
    return age(timedelta(seconds=value))


def of_bytes(received: int, total: int | None) -> str:
    """Gives `1.2 of 6.94 GB`, in the unit of the total; `1.2 GB` where that is not known."""
    whole = received if total is None else total
    factor, unit = next((one for one in _BYTES if whole >= one[0]), (1, "bytes"))
    known = f"{_three_digits(received / factor)} of " if total is not None else ""
    return f"{known}{_three_digits(whole / factor)} {unit}"


def age(span: timedelta) -> str:
    """Gives a span of time in its two largest units; none is below a second."""
    total = max(0, int(span.total_seconds()))
    days, hours = divmod(total, _DAY)
    hours, minutes = divmod(hours, _HOUR)
    minutes, rest = divmod(minutes, _MINUTE)
    parts = [(days, "days" if days > 1 else "day"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number) or "0 s"


def short_commit(commit: str) -> str:
    """Gives as much of a commit or digest as tells it from others."""
    kind, sign, digest = commit.rpartition(":")
    return f"{kind}{sign}{digest[:12]}"


def schedule_words(schedule: Mapping[str, JsonValue]) -> str:
    """Gives `Lookahead (degree 2, tolerance 0.03)`."""
    options = [f"{name} {value}" for name, value in schedule.items() if name != "strategy"]
    strategy = str(schedule.get("strategy", "unknown"))
    return f"{strategy} ({', '.join(options)})" if options else strategy


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
