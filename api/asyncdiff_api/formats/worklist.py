"""Worklists: what a line may say, and the items that lines, prompts and seeds make.

The order of items is fixed: line by line (or prompt by prompt), and within one by ascending seed. A line that
names its seed is one item; a line that does not is one item for each seed of the job.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from asyncdiff_api.describe import Shape, shape_of
from asyncdiff_api.fields import INPUT_ADDRESS, Entries, Label, Part, Range, Section, Text
from asyncdiff_api.formats.errors import WorklistLineError
from asyncdiff_api.formats.lines import RawLine, lines_between
from asyncdiff_api.formats.primitives import MAX_SEED
from asyncdiff_api.generate import Generate, Inputs, Scheduler
from asyncdiff_api.wording import expectation, found, nearest, remedy

MAX_PROMPT_CHARACTERS: Final = 16_384

INPUT_NAMES: Final = tuple(Inputs.model_fields)
"""Inputs that a line names directly."""

_PROMPT: Final = Text(MAX_PROMPT_CHARACTERS)
_SIDE: Final = Range(8, 16_384)


def _says(description: str) -> Label:
    return Label(description, identity=True, mutable=False)


def _carries(description: str) -> Label:
    return Label(description, identity=False, mutable=False)


class WorklistLine(Section):
    """One line of a worklist: what its items ask for beyond the job's `generate`."""

    model_config = ConfigDict(validate_by_name=False)

    prompt: Annotated[str | None, _PROMPT, _says("What to show. It or an image is needed.")] = None
    id: Annotated[
        str | None,
        Text(256),
        _carries("Your own name for the line, carried into the manifest; no part of the item's identity."),
    ] = None
    seed: Annotated[
        int | None,
        Range(0, MAX_SEED),
        _says("Seed of the line's one item. Default: one item for each of the job's seeds."),
    ] = None
    negative_prompt: Annotated[str | None, _PROMPT, _says("What the picture should not show.")] = None
    image: Annotated[str | None, INPUT_ADDRESS, _says("Picture to change.")] = None
    mask: Annotated[str | None, INPUT_ADDRESS, _says("Inpainting mask for image.")] = None
    control: Annotated[str | None, INPUT_ADDRESS, _says("Control picture.")] = None
    reference: Annotated[str | None, INPUT_ADDRESS, _says("Picture for an IPAdapter.")] = None
    video: Annotated[str | None, INPUT_ADDRESS, _says("Video to change.")] = None
    width: Annotated[int | None, _SIDE, Field(multiple_of=8), _says("Width in pixels.")] = None
    height: Annotated[int | None, _SIDE, Field(multiple_of=8), _says("Height in pixels.")] = None
    frames: Annotated[int | None, Range(1, 2048), _says("Frames of a video pipeline.")] = None
    fps: Annotated[int | None, Range(1, 240), _says("Frames per second of the file written.")] = None
    steps: Annotated[int | None, Range(1, 1000), _says("Scheduler steps.")] = None
    guidance_scale: Annotated[float | None, Range(0.0, 100.0), _says("Classifier-free guidance scale.")] = (
        None
    )
    scheduler: Annotated[Scheduler | None, Part("The noise scheduler, in place of the job's.")] = None
    options: Annotated[
        dict[str, JsonValue] | None,
        Entries(64),
        _says("Passed to the pipeline's call; merged over the job's options, key by key."),
    ] = None
    labels: Annotated[
        dict[str, JsonValue] | None,
        Entries(64),
        _carries("Anything to find the item by, carried into the manifest; no part of its identity."),
    ] = None


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
    if b"NaN" in data or b"Infinity" in data:
        _refuse_constants(data, position)
    try:
        return WorklistLine.model_validate_json(data)
    except ValidationError as error:
        raise WorklistLineError(f"{position}: {_sentence(error)}") from None


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


def _refuse_constants(data: bytes, position: Position) -> None:
    """Refuses NaN and infinities, which many writers of JSON emit and many readers accept."""

    def refuse(constant: str) -> None:
        raise WorklistLineError(f"{position}: holds {constant}, which is no JSON; write a number or null")

    with contextlib.suppress(ValueError):
        json.loads(data, parse_constant=refuse)


_SHAPE: Final = shape_of(WorklistLine)


def _sentence(error: ValidationError) -> str:
    """Says what the first of a line's errors is, and what to do."""
    detail = error.errors(include_url=False)[0]
    match detail["type"]:
        case "json_invalid":
            return f"is not JSON ({detail['ctx']['error']}); write one JSON object a line"
        case "model_type":
            return f"must be a JSON object, such as {_EXAMPLE}; found {found(detail['input'])}"
        case "extra_forbidden":
            *place, name = map(str, detail["loc"])
            known = _shape_at(place).fields or {}
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant else f"the known keys are {', '.join(known)}"
            return f"has an unknown key {'.'.join((*place, name))}; {hint}"
        case "multiple_of":
            return f"{_key(detail)} must be a multiple of 8; found {found(detail['input'])}"
    shape, value = _shape_at(map(str, detail["loc"])), detail["input"]
    return f"{_key(detail)} must be {expectation(shape)}; found {found(value)}{remedy(shape, value)}"


_EXAMPLE: Final = '{"prompt": "a fox"}'


def _key(detail: ErrorDetails) -> str:
    return ".".join(map(str, detail["loc"]))


def _shape_at(place: Iterable[str]) -> Shape:
    """Gives the shape at a place in a line, as far as it has one."""
    shape = _SHAPE
    for name in place:
        shape = (shape.fields or {}).get(name, shape)
    return shape
