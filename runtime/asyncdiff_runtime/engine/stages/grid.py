"""A schedule as a grid of text that people and programs read: a row for each stage, a column for each tick.

A cell of the grid is the evaluation that a stage works on: `7` with what is newest, `7'` where the oldest of what it
reads is one evaluation old, `7''` two, `7'5` five, and `7+2` where the latent is foretold over two evaluations. Letters
before it are segments, if not all of the stage's are computed: `a0`. A capital is the sample, if there are several:
`B7`. Ages stand in brackets where something is read that is not the newest there is: `e7(0.2.1.1)`; `·` is idleness.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from typing import Final, NamedTuple

from ..errors import ScheduleRefused
from .schedule import Cell, Extent, Schedule, Value

_IDLE: Final = "·"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_HEAD: Final = re.compile(r"(\d+) stages?, (\d+) segments?, (\d+) samples?, (\d+) evaluations?")
_ROW: Final = re.compile(r"stage (\d+) +(?:[a-z]|\{\d+\})* +(.*)")
_GROUP: Final = re.compile(
    r"(?P<segments>(?:[a-z]|\{\d+\})*)(?P<sample>[A-Z]|<\d+>)?(?P<evaluation>\d+)(?:\+(?P<foretold>\d+))?"
    r"(?P<mark>'*|'\d+)(?:\((?P<ages>[\d.;]*)\))?"
)


class Found(NamedTuple):
    """A group of cells as its text says it."""

    segments: tuple[int, ...]
    sample: int
    evaluation: int
    foretold: int
    mark: str
    ages: tuple[tuple[int, ...], ...] | None


def text(schedule: Schedule, width: int = 80) -> str:
    """The grid of a schedule, in as many blocks of rows as it takes to be no wider than asked.

    Args:
        schedule: any.
        width: of a line, in characters; a single column may be wider.
    """
    rows = _cells(schedule)
    labels = [
        f"stage {stage} {''.join(map(_letter, _owned(schedule, stage)))}" for stage in range(schedule.stages)
    ]
    margin = max(map(len, labels)) + 1
    columns = [[str(tick), *(row[tick] for row in rows)] for tick in range(len(schedule.ticks))]
    counts = [
        _counted(getattr(schedule, name), name) for name in ("stages", "segments", "samples", "evaluations")
    ]
    lines = [", ".join(counts)]
    for block in _blocks(columns, width - margin):
        widths = [max(map(len, column)) for column in block]
        for label, *cells in zip(["tick", *labels], *block, strict=True):
            padded = (cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
            lines.append(f"{label.ljust(margin)}{' '.join(padded)}".rstrip())
        lines.append("")
    lines.insert(1, "")
    return "\n".join(lines).rstrip() + "\n"


def parse(grid: str) -> Schedule:
    """The schedule that a grid shows.

    Raises:
        ScheduleRefused: it is no grid, or its schedule cannot be carried out.
    """
    lines = [(number, line.strip()) for number, line in enumerate(grid.splitlines(), 1) if line.strip()]
    head = _HEAD.fullmatch(lines[0][1]) if lines else None
    if head is None:
        raise ScheduleRefused(
            "A grid begins with its extent, such as '4 stages, 5 segments, 1 sample, 12 evaluations'; this one with "
            f"{lines[0][1] if lines else ''!r}."
        )
    extent = Extent(*map(int, head.groups()))
    rows: list[list[list[Found]]] = [[] for _ in range(extent.stages)]
    for number, line in lines[1:]:
        if line.startswith("tick"):
            continue
        row = _ROW.fullmatch(line)
        if row is None or int(row[1]) >= extent.stages:
            raise ScheduleRefused(
                f"Line {number} of the grid is no row of stages 0 to {extent.stages - 1}: {line!r}."
            )
        stage = int(row[1])
        rows[stage] += [_read_cell(cell, extent, stage, number) for cell in row[2].split()]
    reading = _Newest(extent)
    ticks = []
    for tick, found in enumerate(zip_longest(*rows, fillvalue=[])):
        ticks.append(tuple(tuple(reading.cells(groups, tick)) for groups in found))
        reading.end_tick()
    return Schedule(extent.stages, extent.segments, extent.samples, extent.evaluations, tuple(ticks))


class _Newest:
    """What a cell reads if nothing else is said, as all cells do of the schedules that are built.

    It is the newest that is there of each earlier segment, but none newer than the cell itself.
    """

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._there: dict[tuple[int, int], list[int]] = {}
        self._now: list[Value] = []

    def ages(self, segment: int, sample: int, evaluation: int) -> tuple[int, ...]:
        """Ages of what it reads; 0 where there is nothing to read."""
        stage = self._extent.stage_of(segment)
        own = [value for value in self._now if self._extent.stage_of(value.segment) == stage]
        found = []
        for earlier in range(segment):
            versions = [v.evaluation for v in own if (v.sample, v.segment) == (sample, earlier)]
            versions += self._there.get((sample, earlier), [])
            found.append(
                evaluation - max((v for v in versions if v <= evaluation), default=evaluation),
            )
        return tuple(found)

    def made(self, value: Value) -> None:
        """Takes note of what this tick made."""
        self._now.append(value)

    def end_tick(self) -> None:
        """Lets all stages read what this tick made."""
        for value in self._now:
            self._there.setdefault((value.sample, value.segment), []).append(value.evaluation)
        self._now = []

    def cells(self, groups: Sequence[Found], tick: int) -> Iterator[Cell]:
        """The cells of one stage at the tick that is being read."""
        for group in groups:
            oldest = 0
            for index, segment in enumerate(group.segments):
                ages = (
                    self.ages(segment, group.sample, group.evaluation)
                    if group.ages is None
                    else group.ages[index]
                )
                oldest = max(oldest, *ages, 0)
                cell = Cell(segment, group.sample, group.evaluation, ages, group.foretold)
                self.made(cell.value)
                yield cell
            if group.ages is None and group.mark != _mark(oldest):
                raise ScheduleRefused(
                    f"At tick {tick}, evaluation {group.evaluation} is marked {group.mark!r}, but the newest of what "
                    f"it reads has the mark {_mark(oldest)!r}; write other ages out, as in 7(0.2.1)."
                )


def _cells(schedule: Schedule) -> list[list[str]]:
    """The text of each cell, by stage and tick."""
    newest = _Newest(schedule)
    rows: list[list[str]] = [[] for _ in range(schedule.stages)]
    for stages in schedule.ticks:
        for stage, cells in enumerate(stages):
            groups = groupby(cells, lambda cell: (cell.sample, cell.evaluation, cell.foretold))
            rows[stage].append(
                ",".join(_group(schedule, stage, list(group), newest) for _, group in groups) or _IDLE
            )
        newest.end_tick()
    return rows


def _group(schedule: Schedule, stage: int, cells: Sequence[Cell], newest: _Newest) -> str:
    segments = [cell.segment for cell in cells]
    first = cells[0]
    written = "" if segments == _owned(schedule, stage) else "".join(map(_letter, segments))
    if schedule.samples > 1:
        written += _capital(first.sample)
    written += str(first.evaluation)
    if first.foretold:
        written += f"+{first.foretold}"
    usual = True
    for cell in cells:
        usual &= cell.ages == newest.ages(cell.segment, cell.sample, cell.evaluation)
        newest.made(cell.value)
    if usual:
        return written + _mark(max((age for cell in cells for age in cell.ages), default=0))
    return f"{written}({';'.join('.'.join(map(str, cell.ages)) for cell in cells)})"


def _read_cell(cell: str, extent: Extent, stage: int, line: int) -> list[Found]:
    if cell == _IDLE:
        return []
    found = [_GROUP.fullmatch(group) for group in cell.split(",")]
    groups = [_read_group(match, extent, stage) for match in found if match is not None]
    if len(groups) < len(found) or any(
        group.ages is not None and len(group.ages) != len(group.segments) for group in groups
    ):
        raise ScheduleRefused(
            f"Line {line} of the grid, stage {stage}: {cell!r} is no cell; one looks like 7, a7, 7', 7+2 or {_IDLE}."
        )
    return groups


def _read_group(match: re.Match[str], extent: Extent, stage: int) -> Found:
    letters = re.findall(r"[a-z]|\d+", match["segments"])
    segments = [_LETTERS.index(letter) if letter.isalpha() else int(letter) for letter in letters]
    sample = match["sample"] or "A"
    ages = match["ages"]
    return Found(
        tuple(segments or _owned(extent, stage)),
        _LETTERS.index(sample.lower()) if sample.isalpha() else int(sample[1:-1]),
        int(match["evaluation"]),
        int(match["foretold"] or 0),
        match["mark"],
        None
        if ages is None
        else tuple(tuple(int(age) for age in cell.split(".") if age) for cell in ages.split(";")),
    )


def _blocks(columns: Sequence[Sequence[str]], width: int) -> Iterator[Sequence[Sequence[str]]]:
    start = used = 0
    for index, column in enumerate(columns):
        size = max(map(len, column))
        if index > start and used + 1 + size > width:
            yield columns[start:index]
            start, used = index, 0
        used += size + (1 if index > start else 0)
    yield columns[start:]


def _owned(extent: Extent, stage: int) -> list[int]:
    return [segment for segment in range(extent.segments) if extent.stage_of(segment) == stage]


def _mark(age: int) -> str:
    return "'" * age if age <= 3 else f"'{age}"


def _letter(segment: int) -> str:
    return _LETTERS[segment] if segment < len(_LETTERS) else f"{{{segment}}}"


def _capital(sample: int) -> str:
    return _LETTERS[sample].upper() if sample < len(_LETTERS) else f"<{sample}>"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun.removesuffix('s') if count == 1 else noun}"
