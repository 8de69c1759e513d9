"""How long a schedule takes and what it moves, told from seconds of its segments and bytes between them.

Each stage works off its cells in their order. A cell begins when its stage is free and what it reads has arrived; what
it makes is sent at once to those who read it, one transfer after the other, while its stage goes on working.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from .schedule import Cell, Schedule, Transfer, Value, Work


@dataclass(frozen=True)
class Flow:
    """Values of a segment that the same later segments read.

    Attributes:
        source: the segment that makes them.
        targets: the segments that read them.
        bytes: of all of them.
    """

    source: int
    targets: frozenset[int]
    bytes: int


@dataclass(frozen=True)
class SegmentCosts:
    """What segments cost, and what goes between them.

    Attributes:
        seconds: of each.
        flows: what later ones read of earlier ones.
        prediction_bytes: of what the last one makes, which all stages are sent.
        latent: the segments that read the latent.
    """

    seconds: tuple[float, ...]
    flows: tuple[Flow, ...] = ()
    prediction_bytes: int = 0
    latent: frozenset[int] = frozenset({0})

    @cached_property
    def joined(self) -> frozenset[tuple[int, int]]:
        """Pairs of segments of which the second reads something of the first."""
        return frozenset((flow.source, target) for flow in self.flows for target in flow.targets)

    def times(self, count: int) -> "SegmentCosts":
        """The costs of as many calls, one after the other in each segment."""
        return SegmentCosts(
            tuple(count * seconds for seconds in self.seconds),
            tuple(Flow(flow.source, flow.targets, count * flow.bytes) for flow in self.flows),
            count * self.prediction_bytes,
            self.latent,
        )

    def bytes_between(self, source: int, targets: Collection[int]) -> int:
        """Bytes of what some segments read of another one, each value counted once."""
        return sum(
            flow.bytes
            for flow in self.flows
            if flow.source == source and not flow.targets.isdisjoint(targets)
        )


@dataclass(frozen=True)
class Link:
    """Between any two stages, both ways at a time.

    Attributes:
        bytes_per_second: that a stage can send.
        latency_seconds: from the end of a transfer to when it can be read.
    """

    bytes_per_second: float
    latency_seconds: float = 0.0

    def seconds(self, count: int) -> float:
        """Seconds that bytes keep the sender's link."""
        return count / self.bytes_per_second


@dataclass(frozen=True)
class Run:
    """A cell with the seconds from the beginning at which it starts and ends."""

    work: Work
    start: float
    end: float


@dataclass(frozen=True)
class Timing:
    """What a schedule takes.

    Attributes:
        schedule: which one.
        costs: of its segments.
        runs: all cells, in the order of the schedule.
        moved: bytes of each transfer, predictions left out.
        waited: seconds that each stage waited between cells for what it reads.
    """

    schedule: Schedule
    costs: SegmentCosts
    runs: tuple[Run, ...]
    moved: Mapping[Transfer, int]
    waited: tuple[float, ...]

    @cached_property
    def between_stages(self) -> tuple[tuple[int, int, int], ...]:
        """Pairs of segments of different stages of which the second reads something of the first; with its bytes."""
        schedule = self.schedule
        return tuple(
            (source, target, count)
            for source in range(schedule.segments)
            for target in range(source + 1, schedule.segments)
            if schedule.stage_of(source) != schedule.stage_of(target)
            and (count := self.costs.bytes_between(source, [target]))
        )

    @property
    def seconds(self) -> float:
        """From the first cell to the last prediction."""
        return max(run.end for run in self.runs)

    @property
    def sequential_seconds(self) -> float:
        """What the same predictions take one stage alone."""
        return self.schedule.samples * self.schedule.evaluations * sum(self.costs.seconds)

    @property
    def speed_up(self) -> float:
        """Against one stage alone."""
        return self.sequential_seconds / self.seconds

    @property
    def busy(self) -> tuple[float, ...]:
        """Seconds that each stage works."""
        sums = [0.0] * self.schedule.stages
        for run in self.runs:
            sums[run.work.stage] += run.end - run.start
        return tuple(sums)

    @property
    def balance(self) -> float:
        """How evenly the work lies: the mean stage over the busiest, 1 where all work as long."""
        busy = self.busy
        return sum(busy) / len(busy) / max(busy)

    @property
    def stale_share(self) -> float:
        """Share of the work that reads something old or foretold."""
        stale = sum(run.end - run.start for run in self.runs if run.work.cell.stale)
        return stale / sum(self.busy)

    @property
    def bytes(self) -> int:
        """That stages send each other, predictions included."""
        predictions = self.schedule.samples * self.schedule.evaluations * (self.schedule.stages - 1)
        return sum(self.moved.values()) + predictions * self.costs.prediction_bytes

    @property
    def bytes_per_evaluation(self) -> float:
        """The mean over all evaluations."""
        return self.bytes / (self.schedule.samples * self.schedule.evaluations)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Seconds from the beginning to the end of each tick."""
        ends = [0.0] * len(self.schedule.ticks)
        for run in self.runs:
            ends[run.work.tick] = max(ends[run.work.tick], run.end)
        for tick in range(1, len(ends)):
            ends[tick] = max(ends[tick], ends[tick - 1])
        return tuple(ends)


def timed(schedule: Schedule, costs: SegmentCosts, link: Link) -> Timing:
    """Goes through a schedule with a clock.

    Args:
        schedule: what to time.
        costs: of its segments.
        link: between its stages.

    Raises:
        ValueError: the costs are those of another number of segments.
    """
    if len(costs.seconds) != schedule.segments:
        raise ValueError(f"costs of {len(costs.seconds)} segments for a schedule of {schedule.segments}")
    clock = _Clock(schedule, costs, link)
    runs = tuple(clock.run(work) for work in schedule.work)
    return Timing(schedule, costs, runs, clock.moved, tuple(clock.waited))


def reach(schedule: Schedule, costs: SegmentCosts) -> Mapping[Value, range]:
    """The evaluations whose latents went into each value, on whatever way: from the oldest to the newest."""
    found: dict[Value, range] = {}
    for _, _, cell in schedule.work:
        sources = [found[value] for value in _read(cell, costs)]
        if cell.segment in costs.latent or not sources:
            newest = cell.evaluation - cell.foretold
            sources.append(range(newest, newest + 1))
        found[cell.value] = range(min(one.start for one in sources), max(one.stop for one in sources))
    return found


def _read(cell: Cell, costs: SegmentCosts) -> list[Value]:
    return [value for value in cell.reads if (value.segment, cell.segment) in costs.joined]


class _Clock:
    """What has happened by when."""

    def __init__(self, schedule: Schedule, costs: SegmentCosts, link: Link) -> None:
        self.moved: dict[Transfer, int] = {}
        self.waited = [0.0] * schedule.stages
        self._schedule, self._costs, self._link = schedule, costs, link
        self._free = [0.0] * schedule.stages
        self._link_free = [0.0] * schedule.stages
        self._there: dict[tuple[Value, int], float] = {}
        self._latents: dict[tuple[int, int, int], float] = {}
        self._waiting: dict[Value, list[Transfer]] = {}
        for transfer in sorted(schedule.transfers(costs.joined), key=lambda one: one.first_read):
            self._waiting.setdefault(transfer.value, []).append(transfer)

    def run(self, work: Work) -> Run:
        """Lets a stage compute its next cell and send what it makes."""
        _, stage, cell = work
        arrived = [self._there[value, stage] for value in _read(cell, self._costs)]
        if cell.segment in self._costs.latent and cell.evaluation > cell.foretold:
            arrived.append(self._latents[cell.sample, cell.evaluation - cell.foretold, stage])
        start = max(self._free[stage], *arrived, 0.0)
        end = start + self._costs.seconds[cell.segment]
        self.waited[stage] += start - self._free[stage]
        self._free[stage] = end
        self._there[cell.value, stage] = end
        if cell.segment == self._schedule.segments - 1:
            self._predict(cell, stage, end)
        for transfer in self._waiting.get(cell.value, ()):
            count = self._costs.bytes_between(cell.segment, transfer.readers)
            self.moved[transfer] = count
            self._there[cell.value, transfer.target] = self._sent(stage, end, count)
        return Run(work, start, end)

    def _predict(self, cell: Cell, stage: int, end: float) -> None:
        for target in range(self._schedule.stages):
            known = end if target == stage else self._sent(stage, end, self._costs.prediction_bytes)
            self._latents[cell.sample, cell.evaluation + 1, target] = known

    def _sent(self, stage: int, ready: float, count: int) -> float:
        """When bytes arrive that a stage has ready."""
        self._link_free[stage] = max(ready, self._link_free[stage]) + self._link.seconds(count)
        return self._link_free[stage] + self._link.latency_seconds
