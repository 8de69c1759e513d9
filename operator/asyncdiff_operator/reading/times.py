"""Times as Kubernetes writes them: UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def read_time(text: str | None) -> datetime | None:
    """Reads a time such as `2026-01-31T12:00:00Z`; None for none, and for what is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def whole_seconds(moment: datetime) -> datetime:
    """Gives the moment as it would be read back, in UTC and without a fraction of a second."""
    return moment.astimezone(UTC).replace(microsecond=0)


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Gives the seconds from one moment to a later one, negative if it is not later."""
    return (later - earlier).total_seconds()


def duration(seconds: float) -> str:
    """Says a duration for people, such as `90 s`, `15 min` or `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h"
