"""The work of one group of ranks: block by block, batch by batch, until nothing is left or it is told to go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from asyncdiff_api.formats.errors import DrainedError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.manifest import ItemCounts

from asyncdiff_runtime.batch.generator import Batches, Generator
from asyncdiff_runtime.batch.ledger import Block, Ledger
from asyncdiff_runtime.batch.objects import ObjectWriter
from asyncdiff_runtime.batch.recorder import Recorder
from asyncdiff_runtime.batch.worklist import Wanted

WINDOW = 1024
"""Items that may wait for a batch of their shape before incomplete batches are made."""


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
    on_progress: Callable[[ItemCounts, int, int], None]
    """Told the counts so far, how many of them this attempt has made, and the items in hand."""

    def run(self, blocks: Iterable[tuple[int, Wanted]], numbers: range) -> ItemCounts:
        """Works off blocks; `total` of the counts is known at the end.

        Args:
            blocks: The blocks of this group with their items, in order.
            numbers: The run of blocks that the ledger is surveyed for.

        Raises:
            DrainedError: The group was told to go; what is finished is recorded.
            TooManyFailedItemsError: Too many items failed or were rejected; what is finished is recorded.
            ContractError: Any other end, see its exit code; what was recorded stays.
        """
        duplicates: dict[str, int] = {}
        made = 0
        with Recorder(self.ledger, self.objects, self.max_failed) as recorder:
            for batch in self._batches(blocks, numbers, recorder, duplicates):
                self.on_progress(recorder.counts, made, len(batch))
                if self.draining():
                    raise DrainedError(
                        "was told to go; what is finished is recorded, and a resume makes the rest"
                    )
                results = self.generator.generate(batch)
                made += len(batch)
                for item, result in zip(batch, results, strict=True):
                    recorder.submit(item, duplicates.pop(_name(item)), result)
        recorder.check()
        counts = recorder.counts
        self.on_progress(counts, made, 0)
        return counts.model_copy(update={"total": counts.done + counts.rejected + counts.failed})

    def _batches(
        self,
        blocks: Iterable[tuple[int, Wanted]],
        numbers: range,
        recorder: Recorder,
        duplicates: dict[str, int],
    ) -> Iterator[list[WorkItem]]:
        """Gives what is still to be made of the blocks, in batches; opens each block on the way."""
        survey = self.ledger.survey(numbers)
        orphans = self.objects.orphans(numbers, survey.complete)
        batches = Batches(self.batch_size)
        for number, wanted in blocks:
            block = self.ledger.open(number, survey)
            pending = [] if block.complete else list(self._pending(block, wanted, orphans.get(number, set())))
            recorder.open(block, len(pending))
            duplicates.update((_name(item), wanted[item.id][1]) for item in pending)
            yield from batches.add(pending)
            if batches.waiting > WINDOW:
                yield from batches.rest()
        yield from batches.rest()

    def _pending(self, block: Block, wanted: Wanted, orphans: set[str]) -> Iterator[WorkItem]:
        """Gives the items of a block that nobody has made; objects that no ledger knows are taken over."""
        for name, (item, duplicates) in wanted.items():
            if name in block.records:
                continue
            record = self.objects.adopt(item, duplicates) if name in orphans else None
            if record is None:
                yield item
            else:
                block.records[name] = record


def _name(item: WorkItem) -> str:
    """Names an item within the job: two blocks may ask for the same one."""
    return f"{item.position.block}/{item.id}"
