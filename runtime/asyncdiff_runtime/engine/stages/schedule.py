"""A schedule: which part of the denoiser is computed when, by which stage, and from which values.

One type says what AsyncDiff does (parts of one evaluation at the same time, on values of the evaluation before), what
lookahead does (one part each of several evaluations, on foretold latents) and what a pipeline of several samples does.
It is data: what builds, checks, prints, draws, simulates and carries it out need not know of each other.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from .schedule_cells import Cell, Extent, Tick, Value, Work
from .schedule_rules import check

__all__ = ["Cell", "Extent", "Schedule", "Tick", "Transfer", "Value", "Work"]


@dataclass(frozen=True, order=True)
class Transfer:
    """A value that another stage needs.

    Attributes:
        tick: at the end of which it is there.
        source: the stage that makes it.
        target: the stage that reads it.
        value: which version.
        readers: segments of the target that read it, in order.
        first_read: the first tick at which the target reads it.
        last_read: the last such tick.
    """

    tick: int
    source: int
    target: int
    value: Value
    readers: tuple[int, ...]
    first_read: int
    last_read: int


@dataclass(frozen=True)
class Schedule(Extent):
    """What every stage computes at every tick.

    All stages work at the same time within a tick. A cell reads what was made at an earlier tick, or earlier in the
    same tick by its own stage. The last segment of an evaluation makes its prediction; the sampler's step follows at
    the end of that tick.

    Attributes:
        ticks: one after the other.

    Raises:
        ScheduleRefused: something is read before it is there, made twice or never, or made where it does not belong.
    """

    ticks: tuple[Tick, ...]

    def __post_init__(self) -> None:
        check(self, self.ticks)

    @property
    def work(self) -> Iterator[Work]:
        """All cells by tick, then by stage, then in the order in which a stage computes them."""
        for tick, stages in enumerate(self.ticks):
            for stage, cells in enumerate(stages):
                for cell in cells:
                    yield Work(tick, stage, cell)

    def producer(self, sample: int, segment: int, evaluation: int) -> int:
        """The tick at which a value is made.

        Raises:
            KeyError: it never is.
        """
        return self._made[Value(sample, segment, evaluation)].tick

    def predicted(self, sample: int, evaluation: int) -> int:
        """The tick at which an evaluation's prediction is made."""
        return self.producer(sample, self.segments - 1, evaluation)

    def exact(self, sample: int, evaluation: int) -> bool:
        """Whether an evaluation's prediction is the sequential one: nothing that led to it was old or foretold."""
        cells = (self._made.get(Value(sample, segment, evaluation)) for segment in range(self.segments))
        return all(work is not None and not work.cell.stale for work in cells)

    def transfers(self, edges: Collection[tuple[int, int]] | None = None) -> tuple[Transfer, ...]:
        """What has to go from one stage to another, by the tick and stage that make it; ranks agree on the order.

        Args:
            edges: pairs of segments of which the second reads something of the first; all are assumed if None.
        """
        readers: dict[tuple[Value, int], list[Work]] = {}
        for work in self.work:
            for value in work.cell.reads:
                read = edges is None or (value.segment, work.cell.segment) in edges
                if read and self.stage_of(value.segment) != work.stage:
                    readers.setdefault((value, work.stage), []).append(work)
        return tuple(
            Transfer(
                tick=work.tick,
                source=work.stage,
                target=target,
                value=work.cell.value,
                readers=tuple(sorted({reader.cell.segment for reader in found})),
                first_read=min(reader.tick for reader in found),
                last_read=max(reader.tick for reader in found),
            )
            for work in self.work
            for target in range(self.stages)
            if (found := readers.get((work.cell.value, target)))
        )

    def last_read(self, value: Value, stage: int) -> int | None:
        """The last tick at which a stage reads a value, after which it can be let go; None if it never does."""
        return self._last_reads.get((value, stage))

    def digest(self) -> str:
        """A hash by which ranks agree that they have the same schedule: 64 hexadecimal digits."""
        return sha256(self._canonical().encode()).hexdigest()

    def _canonical(self) -> str:
        head = f"{self.stages} {self.segments} {self.samples} {self.evaluations} {len(self.ticks)}"
        cells = (
            f"{tick} {stage} {cell.segment} {cell.sample} {cell.evaluation} {cell.foretold} {cell.ages}"
            for tick, stage, cell in self.work
        )
        return "\n".join((head, *cells))

    @cached_property
    def _made(self) -> Mapping[Value, Work]:
        return {work.cell.value: work for work in self.work}

    @cached_property
    def _last_reads(self) -> Mapping[tuple[Value, int], int]:
        return {(value, work.stage): work.tick for work in self.work for value in work.cell.reads}
