"""From worklist to items: merges a line over the job's defaults and gives the item its id.

An id is the hash of the whole resolved request. A job's items share most of it, so the text of the shared
part is made once and only what a line changes is written for each: 10 million lines take minutes instead of
hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import JsonValue

from asyncdiff_api.formats.blocks import Blocking
from asyncdiff_api.formats.canonical import NotCanonicalError, canonical_text, quote, utf8
from asyncdiff_api.formats.errors import WorklistLineError
from asyncdiff_api.formats.identity import (
    EncodingIdentity,
    ItemRequest,
    ModelIdentity,
    SchedulerIdentity,
    identity_document,
    is_absent,
    item_id_of,
)
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.worklist import INPUT_NAMES, Position, WorklistLine, inputs_of, seeds_of
from asyncdiff_api.generate import Generate, Scheduler
from asyncdiff_api.job import JobSpec

_PLAIN = ("steps", "guidance_scale", "height", "width", "frames", "fps", "negative_prompt")
"""Fields of a line that simply replace the job's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What all items of a job have in common: the job's own choices, and what `job.json` pins."""

    generate: Generate
    model: ModelIdentity
    schedule: Mapping[str, JsonValue]
    """The strategy and its parameters as pinned."""
    attention_backend: str = ""
    encoding: EncodingIdentity = field(default_factory=EncodingIdentity)

    @classmethod
    def of_job(cls, spec: JobSpec, record: JobRecord) -> Self:
        """Gives what the items of a job share, from its spec and from the record of its output prefix."""
        return cls(
            generate=spec.generate,
            model=record.model,
            schedule=record.schedule,
            attention_backend=spec.parallelism.attention_backend,
            encoding=EncodingIdentity(format=str(spec.output.format), quality=spec.output.encoder_quality),
        )


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One item to make: where it comes from, what its line says, and its id."""

    id: str
    position: Position
    line: WorklistLine
    seed: int
    digests: Mapping[str, str]
    """Digest of each input's content by the input's name."""


class Resolver:
    """Resolves the lines of one job into items."""

    def __init__(self, shared: Shared) -> None:
        """Prepares the text that all items of the job share.

        Raises:
            NotCanonicalError: A value has no canonical text, such as NaN in an option.
        """
        generate = shared.generate
        self._generate = generate
        self._shared = ItemRequest(
            model=shared.model,
            schedule=dict(shared.schedule),
            attention_backend=shared.attention_backend,
            encoding=shared.encoding,
            seed=0,
            scheduler=_scheduler(generate.scheduler),
            options=generate.options,
            **{name: getattr(generate, name) for name in _PLAIN},
        )
        self._job_inputs = inputs_of(WorklistLine(), generate)
        known = dict.fromkeys(_KEY_OF.values(), "")
        given = {key: _member(key, value) for key, value in identity_document(self._shared).items()}
        self._members = dict(sorted((known | given).items()))

    def items(self, position: Position, line: WorklistLine) -> Iterator[WorkItem]:
        """Gives the items of a line without inputs, in order of their seeds.

        Raises:
            WorklistLineError: The line has neither prompt nor image, inputs whose digests are not known,
                or an option without a canonical text.
        """
        for seed in seeds_of(line, self._generate):
            yield self.item(position, line, seed, {})

    def item(self, position: Position, line: WorklistLine, seed: int, digests: Mapping[str, str]) -> WorkItem:
        """Gives one item.

        Args:
            position: Where the line stands.
            line: The line.
            seed: One of the line's seeds.
            digests: Digest of the content of each input that `inputs_of` names.

        Raises:
            WorklistLineError: As `items`.
        """
        inputs = inputs_of(line, self._generate)
        if inputs.keys() != digests.keys():
            missing = ", ".join(sorted(inputs.keys() ^ digests.keys()))
            raise WorklistLineError(
                f"{position}: the item's id needs the digest of each input and of nothing else; see {missing}"
            )
        if line.prompt is None and "image" not in inputs:
            raise WorklistLineError(
                f"{position}: has neither 'prompt' nor 'image'; an item needs one of them"
            )
        try:
            item_id = item_id_of(self._canonical(line, seed, digests))
        except NotCanonicalError as error:
            raise WorklistLineError(f"{position}: {error}") from error
        return WorkItem(item_id, position, line, seed, digests)

    def request(self, item: WorkItem) -> ItemRequest:
        """Gives an item's resolved request; its `item_id` is the item's id."""
        line = item.line
        changed = {name: value for name in _PLAIN if (value := getattr(line, name)) is not None}
        return self._shared.model_copy(
            update={
                **changed,
                "prompt": line.prompt or "",
                "seed": item.seed,
                "scheduler": _scheduler(line.scheduler) if line.scheduler else self._shared.scheduler,
                "options": self._options(line),
                "inputs": dict(item.digests),
            }
        )

    def _canonical(self, line: WorklistLine, seed: int, digests: Mapping[str, str]) -> bytes:
        """Gives the text of `request(item).canonical()` by replacing the members that the line changes."""
        members = self._members.copy()
        members["seed"] = f'"seed":{seed}'
        if line.prompt:
            members["prompt"] = f'"prompt":{quote(line.prompt)}'
        if digests:
            members["inputs"] = _member("inputs", dict(digests))
        for name in line.model_fields_set - _WRITTEN_APART:
            if (value := getattr(line, name)) is not None:
                members[_KEY_OF[name]] = _member(_KEY_OF[name], value)
        if line.options:
            members["options"] = _member("options", self._options(line))
        if line.scheduler is not None:
            members["scheduler"] = _member("scheduler", identity_document(_scheduler(line.scheduler)))
        return utf8(f"{{{','.join(filter(None, members.values()))}}}")

    def _options(self, line: WorklistLine) -> dict[str, JsonValue]:
        shared = self._shared.options
        return {**shared, **line.options} if line.options else shared


_WRITTEN_APART = frozenset({"prompt", "seed", "options", "scheduler", "id", "labels", *INPUT_NAMES})
_KEY_OF = {name: info.alias or name for name, info in ItemRequest.model_fields.items()}


def lines_of_prompts(prompts: Iterable[str]) -> list[tuple[int, WorklistLine]]:
    """Gives inline prompts as numbered worklist lines, from 1."""
    return [(number, WorklistLine(prompt=prompt)) for number, prompt in enumerate(prompts, start=1)]


def count_items(lines: Iterable[tuple[int, WorklistLine]], generate: Generate) -> int:
    """Gives the number of items that the lines make, duplicates included."""
    return sum(len(seeds_of(line, generate)) for _, line in lines)


def choices_of_blocks(
    lines: Iterable[tuple[int, WorklistLine]], generate: Generate, blocks: range, blocking: Blocking
) -> Iterator[tuple[Position, WorklistLine, int]]:
    """Gives position, line and seed of each item in a run of blocks of a worklist divided by items.

    Args:
        lines: All lines of the worklist with their numbers.
        generate: What the job says for every item.
        blocks: Run of blocks with step 1.
        blocking: Division of the worklist by items.
    """
    span = blocking.span(blocks)
    first = 0
    for number, line in lines:
        seeds = seeds_of(line, generate)
        wanted = range(max(span.start - first, 0), min(span.stop - first, len(seeds)))
        for at in wanted:
            yield Position(blocking.block_of(first + at), number), line, seeds[at]
        first += len(seeds)
        if first >= span.stop:
            return


def collapse(items: Iterable[WorkItem]) -> dict[str, tuple[WorkItem, int]]:
    """Gives each distinct item of a block by its id: the first one, and how many more asked for the same."""
    distinct: dict[str, tuple[WorkItem, int]] = {}
    for item in items:
        first, more = distinct.get(item.id, (item, -1))
        distinct[item.id] = (first, more + 1)
    return distinct


def _scheduler(scheduler: Scheduler) -> SchedulerIdentity:
    return SchedulerIdentity(class_name=scheduler.class_name, config=scheduler.config)


def _member(key: str, value: object) -> str:
    return "" if is_absent(value) else f'"{key}":{canonical_text(value, key)}'
