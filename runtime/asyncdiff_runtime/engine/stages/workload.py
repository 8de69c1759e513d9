"""What a line costs, as plain numbers: what a cut is chosen by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .line import Line, bytes_of


@dataclass(frozen=True)
class Carried:
    """A value of a line.

    Attributes:
        made: the place at which it is made.
        read: the places at which it is read, in order; the line's end, where the outputs are made from it.
        bytes: its size.
    """

    made: int
    read: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Held:
    """A weight.

    Attributes:
        read: the places at which it is read, itself or what was made of it, in order.
        bytes: its size.
    """

    read: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Workload:
    """A line to be cut.

    Attributes:
        seconds: of each place.
        values: what later places read of earlier ones.
        boundaries: the places at which a boundary may lie, in order.
        weights: that places read; none where it does not matter who holds them.
    """

    seconds: tuple[float, ...]
    values: tuple[Carried, ...]
    boundaries: tuple[int, ...]
    weights: tuple[Held, ...] = ()

    @property
    def end(self) -> int:
        """The place after the last."""
        return len(self.seconds)

    def crossing(self, at: int) -> int:
        """Bytes that are made before a place and read there or later."""
        return sum(value.bytes for value in self.values if value.made < at <= value.read[-1])


def workload(line: Line, seconds: Mapping[str, float]) -> Workload:
    """The numbers of a line.

    Args:
        line: what is to be cut.
        seconds: by the name of an operation; those that are left out take no time.
    """
    end = len(line.owned)
    spent = [0.0] * end
    readers: dict[str, set[int]] = {}
    for node, place in line.place.items():
        spent[place] += seconds.get(node.name, 0.0)
        for source in line.reads[node]:
            if line.place[source] != place:
                readers.setdefault(source.name, set()).add(place)
    for node in line.outputs:
        readers.setdefault(node.name, set()).add(end)
    values = (
        Carried(place, tuple(sorted(readers[node.name])), bytes_of(node))
        for node, place in line.place.items()
        if node.name in readers
    )
    return Workload(tuple(spent), tuple(values), line.boundaries)


def received(load: Workload, start: int, stop: int, *, without: int = 0) -> int:
    """Bytes that the places from `start` to before `stop` read of earlier ones.

    Args:
        load: the line.
        start: the first place.
        stop: the place after the last.
        without: values made before this place are at hand and not counted.
    """
    return sum(
        value.bytes
        for value in load.values
        if without <= value.made < start
        and any(_within(place, start, stop, load.end) for place in value.read)
    )


def _within(place: int, start: int, stop: int, end: int) -> bool:
    return start <= place < stop or place == stop == end


def stage_seconds(
    load: Workload, boundaries: Sequence[int], *, circular: bool, period: int, seconds_per_byte: float
) -> tuple[float, ...]:
    """What each stage costs at an asynchronous evaluation, in seconds: its work, and waiting for what it reads.

    Links carry both directions at a time, so that a transfer is counted where it ends. The shell works at each
    evaluation, the others at one in `period`.

    Args:
        load: the line.
        boundaries: where it is cut.
        circular: the first and the last segment are one stage, the first of the list; else the shell is the last.
        period: evaluations from one refresh of a stage to the next.
        seconds_per_byte: of a link.
    """
    runs = list(zip((0, *boundaries), (*boundaries, load.end), strict=True))
    costs = [
        sum(load.seconds[start:stop])
        + seconds_per_byte
        * received(load, start, stop, without=boundaries[0] if circular and stop == load.end else 0)
        for start, stop in runs
    ]
    if circular:
        head, *others, tail = costs
        return (head + tail, *(cost / period for cost in others))
    return (*(cost / period for cost in costs[:-1]), costs[-1])
