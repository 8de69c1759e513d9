"""Reading a worklist: inline prompts, a small file as a whole, a large one by byte ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple, Protocol

from asyncdiff_api.formats.blocks import WHOLE_FILE_BYTES, Blocking, blocking_of_bytes, blocking_of_items
from asyncdiff_api.formats.canonical import sha256_digest
from asyncdiff_api.formats.errors import WorklistChangedError, WorklistUnreadableError
from asyncdiff_api.formats.items import (
    Resolver,
    WorkItem,
    choices_of_blocks,
    collapse,
    count_items,
    lines_of_prompts,
)
from asyncdiff_api.formats.job_record import WorklistSource
from asyncdiff_api.formats.lines import lines_of_blocks
from asyncdiff_api.formats.worklist import (
    Position,
    WorklistLine,
    parse_lines,
    parse_whole,
    seeds_of,
)
from asyncdiff_api.generate import Generate

from asyncdiff_runtime.storage import ObjectChangedError, ObjectMissingError, Storage


class Choice(NamedTuple):
    """One item as the worklist asks for it, before it has an id."""

    position: Position
    line: WorklistLine
    seed: int


class Worklist(Protocol):
    """A worklist that has been opened."""

    @property
    def source(self) -> WorklistSource | None:
        """The file that it is; None for inline prompts."""

    @property
    def blocking(self) -> Blocking:
        """How a job that begins now divides it."""

    def choices(self, blocks: range, blocking: Blocking) -> Iterator[Choice]:
        """Gives the items of a run of blocks in order.

        Raises:
            WorklistLineError: A line does not parse; names line and key.
            WorklistUnreadableError: The file as a whole is no worklist.
            WorklistChangedError: The file is not the one that was opened.
        """


@dataclass(frozen=True)
class WholeWorklist:
    """A worklist in memory, divided by items."""

    lines: Sequence[tuple[int, WorklistLine]]
    generate: Generate
    source: WorklistSource | None = None

    @property
    def blocking(self) -> Blocking:
        """As `Worklist.blocking`."""
        return blocking_of_items(count_items(self.lines, self.generate))

    def choices(self, blocks: range, blocking: Blocking) -> Iterator[Choice]:
        """As `Worklist.choices`."""
        for choice in choices_of_blocks(self.lines, self.generate, blocks, blocking):
            yield Choice(*choice)


@dataclass(frozen=True)
class LargeWorklist:
    """A worklist file of which each shard reads its own byte range."""

    storage: Storage
    key: str
    source: WorklistSource
    generate: Generate

    @property
    def blocking(self) -> Blocking:
        """As `Worklist.blocking`."""
        return blocking_of_bytes(self.source.bytes)

    def choices(self, blocks: range, blocking: Blocking) -> Iterator[Choice]:
        """As `Worklist.choices`."""
        for position, line in parse_lines(lines_of_blocks(self._fetch, blocks, blocking)):
            for seed in seeds_of(line, self.generate):
                yield Choice(position, line, seed)

    def _fetch(self, start: int, stop: int) -> bytes:
        try:
            return self.storage.read(self.key, range(start, stop), self.source.etag)
        except (ObjectChangedError, ObjectMissingError) as error:
            raise WorklistChangedError(
                f"the worklist {self.source.source} was changed or removed while the job ran; put it back"
            ) from error


def inline_worklist(generate: Generate) -> Worklist:
    """Gives the worklist of a job's own prompts."""
    return WholeWorklist(lines_of_prompts(generate.prompts or ()), generate)


def file_worklist(storage: Storage, key: str, generate: Generate, name: str) -> Worklist:
    """Opens a worklist file.

    Args:
        storage: Where it lies.
        key: Its key there.
        generate: What the job says for every item.
        name: How the job names it, for the record and for messages.

    Raises:
        WorklistUnreadableError: There is no such file, it is empty, or it is no worklist.
        WorklistLineError: A line of a small file does not parse.
    """
    found = storage.stat(key)
    if found is None or found.size == 0:
        state = "does not exist" if found is None else "is empty"
        raise WorklistUnreadableError(
            f"the worklist {name} {state} ({storage.uri}{key}); write JSON lines there"
        )
    if found.size > WHOLE_FILE_BYTES:
        source = WorklistSource(source=name, etag=found.etag, bytes=found.size)
        return LargeWorklist(storage, key, source, generate)
    data = storage.read(key)
    source = WorklistSource(source=name, bytes=len(data), digest=sha256_digest(data))
    return WholeWorklist(parse_whole(data), generate, source)


MAX_ITEMS_OF_A_BLOCK: Final = 2**20
"""A block is held in memory, a gigabyte at this size. One divided by items has 256 at most."""

Wanted = dict[str, tuple[WorkItem, int]]
"""The distinct items of a block by id, and how many more lines asked for each."""


DigestsOf = Callable[[Sequence[WorklistLine]], Sequence[Mapping[str, str]]]
"""Gives the digest of each input of each line, by the input's name."""


def _without_inputs(lines: Sequence[WorklistLine]) -> Sequence[Mapping[str, str]]:
    return [{}] * len(lines)


def wanted_by_block(
    worklist: Worklist,
    resolver: Resolver,
    blocks: range,
    blocking: Blocking,
    digests_of: DigestsOf = _without_inputs,
) -> Iterator[tuple[int, Wanted]]:
    """Gives each block of a run, also one in which no line starts, with its distinct items.

    Args:
        worklist: The worklist.
        resolver: Gives items their ids.
        blocks: The run of blocks.
        blocking: How the worklist is divided.
        digests_of: Asked for a block at a time.

    Raises:
        WorklistLineError: As `Worklist.choices`, or an item cannot be resolved.
        WorklistUnreadableError: As `Worklist.choices`, or a block makes too many items.
    """
    number = blocks.start
    choices = worklist.choices(blocks, blocking)
    for found, group in groupby(choices, key=lambda choice: choice.position.block):
        for empty in range(number, found):
            yield empty, {}
        mine = list(_bounded(found, group))
        digests = digests_of([choice.line for choice in mine])
        yield (
            found,
            collapse(
                resolver.item(*choice, digests=known) for choice, known in zip(mine, digests, strict=True)
            ),
        )
        number = found + 1
    for empty in range(number, blocks.stop):
        yield empty, {}


def _bounded(block: int, choices: Iterable[Choice]) -> Iterator[Choice]:
    for number, choice in enumerate(choices):
        if number == MAX_ITEMS_OF_A_BLOCK:
            raise WorklistUnreadableError(
                f"block {block} of the worklist makes more than {MAX_ITEMS_OF_A_BLOCK} items, as its lines have "
                "many seeds each; lower generate.seeds.count, or write a line with a seed for every item"
            )
        yield choice
