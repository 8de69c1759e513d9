"""A schedule as a picture: a row for each stage, a column for each tick, and colours that say what is old."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from .drawing import colour_of, document, rectangle, text
from .schedule import Cell, Schedule

_COLUMN: Final = 36
_ROW: Final = 40
_MARGIN: Final = 20
_LABELS: Final = 92
_HEADING: Final = 34
_LEGEND: Final = (
    ("exact", "exact: nothing it reads is old"),
    ("old", "reads values one evaluation old"),
    ("older", "reads values two or more old"),
    ("foretold", "works on a foretold latent"),
    ("idle", "waits"),
)


def timetable(
    schedule: Schedule, *, heading: str = "", ticks: int = 26, last: int = 3, name: str = "timetable"
) -> str:
    """A schedule as an SVG.

    Args:
        schedule: any.
        heading: a line above it.
        ticks: columns at most; of more ticks, those in the middle are left out.
        last: how many of the columns are then the last ticks.
        name: tells this picture's ids from those of others on a page.
    """
    width, height, legend, body = _sheet([(heading, schedule)], ticks, last)
    words = described(schedule)
    return document(width, height, f"{words[0].upper()}{words[1:]}", f"Colours: {legend}.", body, name)


def timetables(parts: Sequence[tuple[str, Schedule]], title: str, description: str, *, name: str) -> str:
    """Several schedules below each other, whole, with one legend.

    Args:
        parts: a heading and a schedule each.
        title: what the picture shows.
        description: what there is to be seen.
        name: tells this picture's ids from those of others on a page.
    """
    width, height, legend, body = _sheet(parts, max(len(schedule.ticks) for _, schedule in parts), 0)
    return document(width, height, title, f"{description} Colours: {legend}.", body, name)


def described(schedule: Schedule) -> str:
    """What a picture of a schedule shows, in a sentence."""
    sample = f" of each of {schedule.samples} samples" if schedule.samples > 1 else ""
    return (
        f"{schedule.stages} stage{'s' * (schedule.stages > 1)} make {schedule.evaluations} evaluations{sample} in "
        f"{len(schedule.ticks)} ticks"
    )


def _sheet(
    parts: Sequence[tuple[str, Schedule]], most: int, last: int
) -> tuple[float, float, str, list[str]]:
    """Gives width, height, the legend in words, and the elements."""
    body: list[str] = []
    top = _MARGIN
    kinds: set[str] = set()
    columns = 0
    for heading, schedule in parts:
        shown = _shown(len(schedule.ticks), most, last)
        columns = max(columns, len(shown))
        if heading:
            body.append(text(_MARGIN, top + 14, heading, "strong"))
            top += _HEADING
        body += _rows(schedule, shown, top, kinds)
        top += schedule.stages * _ROW + _MARGIN
    legend = [(kind, words) for kind, words in _LEGEND if kind in kinds]
    width = 2 * _MARGIN + _LABELS + max(columns * _COLUMN, 520)
    body += _legend(legend, top, width)
    height = top + _legend_height(legend, width) + _MARGIN / 2
    return width, height, "; ".join(words for _, words in legend), body


def _shown(ticks: int, most: int, last: int) -> list[int | None]:
    """The ticks that get a column; None stands for those that are left out."""
    if ticks <= most:
        return list(range(ticks))
    return [*range(most - last - 1), None, *range(ticks - last, ticks)]


def _rows(schedule: Schedule, shown: Sequence[int | None], top: float, kinds: set[str]) -> list[str]:
    body = []
    for stage in range(schedule.stages):
        y = top + stage * _ROW
        words = f"stage {stage}" if stage or schedule.segments == schedule.stages else "shell"
        body.append(f'<circle cx="{_MARGIN + 8}" cy="{y + 17}" r="7" fill="{colour_of(stage)}"/>')
        body.append(text(_MARGIN + 24, y + 22, words))
        for column, tick in enumerate(shown):
            x = _MARGIN + _LABELS + column * _COLUMN
            if tick is None:
                body.append(text(x + _COLUMN / 2 - 2, y + 21, "⋯", "soft", "middle"))
                continue
            body += _cell(schedule, stage, schedule.ticks[tick][stage], x, y, kinds)
    return body


def _cell(
    schedule: Schedule, stage: int, cells: Sequence[Cell], x: float, y: float, kinds: set[str]
) -> list[str]:
    side = _COLUMN - 4
    groups = [list(group) for _, group in groupby(cells, lambda cell: (cell.sample, cell.evaluation))]
    if not groups:
        kinds.add("idle")
        return [rectangle(x, y, side, 34, "idle")]
    body = []
    height = 34 / len(groups)
    whole = sum(schedule.stage_of(segment) == stage for segment in range(schedule.segments))
    for at, group in enumerate(groups):
        kind = _kind(group)
        kinds.add(kind)
        sample = chr(ord("A") + group[0].sample % 26) if schedule.samples > 1 else ""
        ink = "on-old" if kind == "old" else "on"
        part = _part(schedule, group) if len(group) < whole and len(groups) == 1 else ""
        body.append(
            rectangle(x, y + at * height, side, height - (at + 1 < len(groups)), kind, hint=_hint(group))
        )
        line = y + at * height + height / 2 + (1 if part else 5)
        body.append(text(x + side / 2, line, f"{sample}{group[0].evaluation}", ink, "middle"))
        if part:
            body.append(text(x + side / 2, y + 29, part, f"{ink} small", "middle"))
    return body


def _kind(cells: Sequence[Cell]) -> str:
    if any(cell.foretold for cell in cells):
        return "foretold"
    oldest = max((age for cell in cells for age in cell.ages), default=0)
    return "exact" if oldest == 0 else "old" if oldest == 1 else "older"


def _part(schedule: Schedule, cells: Sequence[Cell]) -> str:
    if len(cells) > 1:
        return ""
    return (
        "head" if cells[0].segment == 0 else "tail" if cells[0].segment == schedule.segments - 1 else "deep"
    )


def _hint(cells: Sequence[Cell]) -> str:
    evaluation = cells[0].evaluation
    lines = [f"evaluation {evaluation}"]
    for cell in cells:
        if cell.foretold:
            lines.append(f"segment {cell.segment}: latent foretold over {cell.foretold}")
        read = ", ".join(
            f"segment {segment} of {evaluation - age}" for segment, age in enumerate(cell.ages) if age
        )
        if read:
            lines.append(f"segment {cell.segment} reads {read}")
    return "\n".join(lines)


def _legend(legend: Sequence[tuple[str, str]], top: float, width: float) -> list[str]:
    body = []
    for (kind, words), (x, y) in zip(legend, _places(legend, width), strict=True):
        body.append(rectangle(x, top + y, 14, 14, kind))
        body.append(text(x + 21, top + y + 11.5, words, "soft"))
    return body


def _legend_height(legend: Sequence[tuple[str, str]], width: float) -> float:
    return max((y for _, y in _places(legend, width)), default=0) + 24


def _places(legend: Sequence[tuple[str, str]], width: float) -> list[tuple[float, float]]:
    places = []
    x, y = float(_MARGIN), 0.0
    for _, words in legend:
        size = 34 + 6.4 * len(words)
        if x + size > width and x > _MARGIN:
            x, y = float(_MARGIN), y + 22
        places.append((x, y))
        x += size + 12
    return places
