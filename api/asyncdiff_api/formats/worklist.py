"""Worklists: what a line may say, and the items that lines, prompts and seeds make.

The order of items is fixed: line by line (or prompt by prompt), and within one by ascending seed. A line that
names its seed is one item; a line that does not is one item for each seed of the job.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from asyncdiff_api.fields import INPUT_ADDRESS
from asyncdiff_api.formats.errors import WorklistLineError
from asyncdiff_api.formats.lines import RawLine, lines_between
from asyncdiff_api.formats.primitives import Label, Seed
from asyncdiff_api.generate import Generate, Inputs, Scheduler

MAX_PROMPT_CHARACTERS: Final = 16_384
MAX_SIDE_PIXELS: Final = 16_384
INPUT_NAMES: Final = tuple(Inputs.model_fields)
"""Inputs that a line names directly."""

Side = Annotated[int, Field(ge=8, le=MAX_SIDE_PIXELS, multiple_of=8)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Address = Annotated[str, INPUT_ADDRESS]


class WorklistLine(BaseModel):
    """One line of a worklist: what its items ask for beyond the job's `generate`."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )

    prompt: Prompt | None = None
    id: Annotated[str, Field(max_length=256)] | None = None
    """The person's own name for the line, carried into the manifest; no part of the item's identity."""
    seed: Seed | None = None
    negative_prompt: Prompt | None = None
    image: Address | None = None
    mask: Address | None = None
    control: Address | None = None
    reference: Address | None = None
    video: Address | None = None
    width: Side | None = None
    height: Side | None = None
    frames: Annotated[int, Field(ge=1, le=2048)] | None = None
    fps: Annotated[int, Field(ge=1, le=240)] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    scheduler: Scheduler | None = None
    options: dict[str, JsonValue] | None = None
    """Merged over the job's options, key by key."""
    labels: dict[str, Label] | None = None
    """Carried into the manifest; no part of the item's identity."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where an item comes from."""

    block: int
    line: int
    """From 1: of the whole worklist where `offset` is None, else of the lines that start in the block."""
    offset: int | None = None
    """Offset in bytes of the line in the worklist file; None for a worklist that is divided by items."""

    def __str__(self) -> str:
        """Names the place for a person."""
        if self.offset is None:
            return f"line {self.line} of the worklist"
        return f"line {self.line} of block {self.block} of the worklist (byte {self.offset})"


def parse_line(data: bytes, position: Position) -> WorklistLine:
    """Reads one worklist line.

    Args:
        data: The line, without its newline.
        position: Where it stands, for the error message.

    Raises:
        WorklistLineError: The line is not a JSON object, or a key or value is wrong; names line and key.
    """
    try:
        return WorklistLine.model_validate_json(data)
    except ValidationError as error:
        raise WorklistLineError(f"{position}: {_problem(error)}") from None


def parse_lines(lines: Iterable[RawLine]) -> Iterator[tuple[Position, WorklistLine]]:
    """Reads lines that come from a worklist divided by bytes; blank lines are passed over.

    Raises:
        WorklistLineError: As `parse_line`.
    """
    for block, number, offset, data in lines:
        if not data or data.isspace():
            continue
        position = Position(block, number, offset)
        yield position, parse_line(data, position)


def parse_whole(data: bytes) -> list[tuple[int, WorklistLine]]:
    """Reads a worklist file that is known as a whole.

    Returns:
        Line number, from 1, and line, of each that is not blank.

    Raises:
        WorklistLineError: As `parse_line`.
        WorklistUnreadableError: The file is not UTF-8 by its first bytes, or a line is too long.
    """
    lines = lines_between(lambda start, stop: data[start:stop], range(len(data)), len(data))
    return [
        (number, parse_line(line, Position(0, number)))
        for number, (_, line) in enumerate(lines, start=1)
        if line and not line.isspace()
    ]


def seeds_of(line: WorklistLine, generate: Generate) -> range:
    """Gives the seeds with which a line is made, one item each."""
    if line.seed is not None:
        return range(line.seed, line.seed + 1)
    return range(generate.seeds.start, generate.seeds.start + generate.seeds.count)


def inputs_of(line: WorklistLine, generate: Generate) -> dict[str, str]:
    """Gives the addresses of an item's inputs by name: the line's, else the job's."""
    return _addresses(generate.inputs) | _addresses(line)


def _addresses(named: Inputs | WorklistLine) -> dict[str, str]:
    return {name: address for name in INPUT_NAMES if (address := getattr(named, name)) is not None}


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Gives a clause that suggests the known name most like an unknown one, or lists them where none is."""
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    folded = name.replace("_", "").replace("-", "").lower()
    close = difflib.get_close_matches(folded, by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[close[0]]!r}?" if close else f"the known keys are {', '.join(names)}"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


_KEYS: Final[dict[tuple[int | str, ...], tuple[str, ...]]] = {
    (): _keys(WorklistLine),
    ("scheduler",): _keys(Scheduler),
}
"""Known keys of each object in a line, by the object's place."""


def _problem(error: ValidationError) -> str:
    """Says what the first of a line's errors is, and what to do."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "json_invalid":
            return f"is not JSON: {first['ctx']['error']}; write one JSON object a line"
        case "model_type":
            return (
                f"is a JSON {type(first['input']).__name__}; write a JSON object, such as "
                '{"prompt": "a fox"}'
            )
        case "extra_forbidden":
            *place, name = first["loc"]
            return f"unknown key {key!r}: {nearest_name(str(name), _KEYS[tuple(place)])}"
    return f"key {key!r}: {first['msg'][0].lower()}{first['msg'][1:]}; found {_short(first['input'])}"


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
