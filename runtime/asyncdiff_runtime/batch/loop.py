"""The work of one group of ranks: block by block, batch by batch, until nothing is left or it is told to go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from asyncdiff_api.formats.errors import DrainedError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.manifest import ItemCounts, count_records

from asyncdiff_runtime.batch.ahead import Ahead, announced
from asyncdiff_runtime.batch.generator import Batches, Generator
from asyncdiff_runtime.batch.ledger import Block, Ledger, Survey
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.recorder import OnStanding, Recorder
from asyncdiff_runtime.batch.worklist import Wanted

WINDOW: Final = 1024
"""Items that may wait for a batch of their shape before incomplete batches are made."""
OPENED_AHEAD: Final = 4
"""Blocks that are opened before their turn."""
COUNTED_AHEAD: Final = 2
"""Finished blocks that are read at once, to be counted while others are worked off."""

WantedOf = Callable[[range], Iterable[tuple[int, Wanted]]]
"""Gives each block of a run of blocks, with its distinct items."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a group of ranks works with."""

    ledger: Ledger
    objects: ObjectWriter
    generator: Generator
    batch_size: int
    max_failed: int
    draining: Callable[[], bool]
    """Whether the group was told to go."""
    on_progress: OnStanding
    """Told before each batch and after each write to the ledger; see `OnStanding`."""
    on_next: Callable[[Sequence[WorkItem]], None] = lambda _: None
    """Told the batch that comes next while one is made; it returns at once."""

    def run(self, wanted: WantedOf, numbers: range) -> ItemCounts:
        """Works off blocks; `total` of the counts is known at the end.

        Args:
            wanted: Gives each block of a run with its items, in order; asked for unfinished blocks alone.
            numbers: The blocks of this group.

        Raises:
            DrainedError: The group was told to go; what is finished is recorded.
            TooManyFailedItemsError: Too many items failed or were rejected; what is finished is recorded.
            ContractError: Any other end, see its exit code; what was recorded stays.
        """
        survey = self.ledger.survey(numbers)
        self.ledger.tidy(survey)
        opening = (
            partial(self._open, number, items, survey)
            for run in survey.unfinished(numbers)
            for number, items in wanted(run)
        )
        counting = (partial(self._count, number, survey) for number in sorted(survey.complete))
        duplicates: dict[str, int] = {}
        with (
            Recorder(self.ledger, self.objects, self.max_failed, self.on_progress) as recorder,
            Ahead(counting, COUNTED_AHEAD) as counted,
            Ahead(opening, OPENED_AHEAD) as opened,
        ):
            for batch in announced(self._batches(opened, recorder, duplicates), self.on_next):
                for counts in counted.ready():
                    recorder.count(counts)
                self.on_progress(recorder.standing)
                if self.draining():
                    raise DrainedError(
                        "was told to go; what is finished is recorded, and a resume makes the rest"
                    )
                results = self.generator.generate(batch)
                for item, result in zip(batch, results, strict=True):
                    recorder.submit(item, duplicates.pop(_name(item)), result)
            for counts in counted:
                recorder.count(counts)
        recorder.check()
        counts = recorder.counts
        return counts.model_copy(update={"total": counts.done + counts.rejected + counts.failed})

    def _batches(
        self, opened: Iterable[_Opened], recorder: Recorder, duplicates: dict[str, int]
    ) -> Iterator[list[WorkItem]]:
        """Gives what is still to be made of the blocks, in batches; hands the blocks to the recorder."""
        batches = Batches(self.batch_size)
        for block, pending in opened:
            if block.complete:
                recorder.count(count_records(block.records.values()))
                continue
            recorder.open(block, len(pending))
            duplicates.update((_name(item), more) for item, more in pending)
            yield from batches.add(item for item, _ in pending)
            if batches.waiting > WINDOW:
                yield from batches.rest()
        yield from batches.rest()

    def _count(self, number: int, survey: Survey) -> ItemCounts:
        """Counts a block that an earlier attempt has finished."""
        return count_records(self.ledger.open(number, survey).records.values())

    def _open(self, number: int, wanted: Wanted, survey: Survey) -> _Opened:
        """Gives a block and what nobody has made of it; objects that no ledger knows are taken over."""
        block = self.ledger.open(number, survey)
        if block.complete:
            return _Opened(block, [])
        orphans, pending = self.objects.orphans(number), []
        for name, (item, duplicates) in wanted.items():
            if name in block.records:
                continue
            record = self.objects.adopt(item, duplicates) if name in orphans else None
            if record is None:
                pending.append((item, duplicates))
            else:
                block.records[name] = record
        return _Opened(block, pending)


class _Opened(NamedTuple):
    block: Block
    pending: list[tuple[WorkItem, int]]
    """Items that are to be made, and how many more lines asked for each."""


def _name(item: WorkItem) -> str:
    """Names an item within the job: two blocks may ask for the same one."""
    return f"{item.position.block}/{item.id}"
