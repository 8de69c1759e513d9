"""Where to cut: the places at which the slowest stage is quickest.

A line of operations is cut into contiguous segments. In a circle, the first and the last of them are one stage, the
shell: what shallow layers hand straight to the end, as the skips of a UNet, then never travels, and the prediction has
part of the true latent. Where nothing goes that way, a chain has one boundary less and its last stage is the shell.

The best cut has the lowest maximum over all stages. Whether a maximum can be reached is told for all first and all last
boundaries at once, by which boundaries a row of stages can end at; the lowest is found by halving.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import numpy.typing as npt

from .workload import Carried, Held, Workload, stage_seconds

_PLACES = 512
"""Boundaries that are tried; of more, the narrowest in each of as many runs of equal work."""
_HALVINGS = 48
_WORTH = 1.05
"""A circle is taken where it is at most this many times as slow as a chain: what it keeps fresh is worth it."""

Matrix = npt.NDArray[np.float64]
Reached = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """Where a line is cut.

    Attributes:
        boundaries: places at which a new segment begins.
        circular: the first and the last segment are one stage.
        seconds: predicted for each stage, the shell's first in a circle and last in a chain.
    """

    boundaries: tuple[int, ...]
    circular: bool
    seconds: tuple[float, ...]

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self.seconds)

    @property
    def balance(self) -> float:
        """How evenly the work lies: the mean stage over the slowest, 1 where all take as long."""
        return sum(self.seconds) / len(self.seconds) / max(self.seconds)


def best_cut(
    load: Workload,
    stages: int,
    *,
    period: int = 1,
    seconds_per_byte: float = 0.0,
    most_weight_bytes: float = inf,
) -> Cut | None:
    """The cut of which the slowest stage is quickest; None if there is none.

    Args:
        load: the line.
        stages: how many there are to be.
        period: evaluations from one refresh of a stage other than the shell to the next.
        seconds_per_byte: of a link between two stages.
        most_weight_bytes: of the weights that a stage may read.
    """
    if stages == 1:
        return Cut((), False, (sum(load.seconds),))
    costs = _Costs.of(load, period, seconds_per_byte).within(load.weights, most_weight_bytes)
    found = [
        Cut(
            boundaries,
            circular,
            stage_seconds(
                load, boundaries, circular=circular, period=period, seconds_per_byte=seconds_per_byte
            ),
        )
        for circular in (True, False)
        if (boundaries := costs.best(stages, circular=circular)) is not None
    ]
    if len(found) < 2:
        return found[0] if found else None
    circle, chain = found
    return circle if max(circle.seconds) <= _WORTH * max(chain.seconds) else chain


@dataclass(frozen=True, eq=False)
class _Costs:
    """Seconds of every run of places between two boundaries.

    Attributes:
        points: the boundaries that are tried, the line's start and its end among them.
        middle: `[i, j]`: a stage from `points[i]` to `points[j]`; it grows with j, and may end infinite.
        shell: `[i, j]`: the stage up to `points[i]` and from `points[j]` on; infinite where it must not be.
        direct: `[i, j]`: whether the shell hands itself something.
    """

    points: tuple[int, ...]
    middle: Matrix
    shell: Matrix
    direct: Reached

    @classmethod
    def of(cls, load: Workload, period: int, seconds_per_byte: float) -> "_Costs":
        points = (0, *_narrowest(load, _PLACES), load.end)
        spent = np.concatenate([[0.0], np.cumsum(load.seconds)])[list(points)]
        work = spent[None, :] - spent[:, None]
        read = _received(load.values, points)
        direct = _handed_past(load.values, points)
        around = spent[:, None] + (spent[-1] - spent)[None, :]
        return cls(
            points=points,
            middle=(work + seconds_per_byte * read) / period,
            shell=around + seconds_per_byte * (read[:, -1][None, :] - direct),
            direct=direct > 0,
        )

    def within(self, weights: Sequence[Held], most_bytes: float) -> "_Costs":
        """The same, without stages that read more than so many bytes of weights."""
        if most_bytes == inf:
            return self
        read = _received([Carried(-1, weight.read, weight.bytes) for weight in weights], self.points)
        twice = _handed_past(
            [Carried(weight.read[0], weight.read[-1:], weight.bytes) for weight in weights], self.points
        )
        around = read[0][:, None] + read[:, -1][None, :] - twice
        return replace(
            self,
            middle=np.where(read > most_bytes, inf, self.middle),
            shell=np.where(around > most_bytes, inf, self.shell),
        )

    def best(self, stages: int, *, circular: bool) -> tuple[int, ...] | None:
        """The boundaries of the lowest maximum."""
        allowed = self._ends(circular=circular)
        low = 0.0
        high = sum(float(costs[costs < inf].max(initial=0.0)) for costs in (self.middle, self.shell))
        if self._row(high, stages, allowed) is None:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._row(middle, stages, allowed) is None:
                low = middle
            else:
                high = middle
        row = self._row(high, stages, allowed)
        assert row is not None
        boundaries = tuple(self.points[at] for at in row)
        return boundaries if circular else boundaries[1:]

    def _ends(self, *, circular: bool) -> Reached:
        """The pairs of a first and a last boundary that may be: in a chain, the first is the line's start."""
        count = len(self.points)
        rising = np.triu(np.ones((count, count), np.bool_), 1)
        rising[:, -1] = False  # the last segment makes the prediction, and is never empty
        first = np.arange(count)[:, None] == 0
        allowed: Reached = rising & (~first & self.direct if circular else first)
        return allowed

    def _row(self, limit: float, stages: int, allowed: Reached) -> list[int] | None:
        """Boundaries of stages that all stay within a limit."""
        reach = _reach(self.middle, limit)
        levels = [np.eye(len(self.points), dtype=np.bool_)]
        for _ in range(stages - 1):
            levels.append(_next(levels[-1], reach))
        ends = np.argwhere(levels[-1] & allowed & (self.shell <= limit))
        if not len(ends):
            return None
        first, at = (int(end) for end in ends[0])
        row = [at]
        for level in reversed(levels[:-1]):
            before = np.flatnonzero(level[first, :at] & (reach[:at] >= at))
            at = int(before[0])
            row.append(at)
        return row[::-1]


def _reach(middle: Matrix, limit: float) -> npt.NDArray[np.intp]:
    """By first boundary: the last one at which a stage that begins there may end; itself, where there is none."""
    count = len(middle)
    within = np.triu(middle <= limit, 1)
    return np.where(within.any(1), np.minimum(np.arange(count) + within.sum(1), count - 1), np.arange(count))


def _next(level: Reached, reach: npt.NDArray[np.intp]) -> Reached:
    """`[i, j]`: whether one stage more, after those of `level` from i on, may end at j."""
    count = len(reach)
    change = np.zeros((count + 1, count), np.int32)
    begin = np.flatnonzero(reach > np.arange(count))
    change[begin + 1] += level.T[begin]
    np.subtract.at(change, reach[begin] + 1, level.T[begin].astype(np.int32))
    reached: Reached = (np.cumsum(change, 0)[:count] > 0).T
    return reached


def _received(values: Sequence[Carried], points: Sequence[int]) -> Matrix:
    """`[i, j]`: bytes that places between two boundaries read of earlier ones."""
    count = len(points)
    change = np.zeros((count, count))
    for value in values:
        # The boundaries behind which it is not made yet; from each, the next reader counts, once.
        start = int(np.searchsorted(points, value.made, side="right"))
        for place in value.read:
            stop = int(np.searchsorted(points, place, side="right"))
            change[start:stop, min(stop, count - 1)] += value.bytes
            start = max(start, stop)
    read: Matrix = np.cumsum(change, 1)
    return read


def _handed_past(values: Sequence[Carried], points: Sequence[int]) -> Matrix:
    """`[i, j]`: bytes that are made before the one boundary and read behind the other."""
    count = len(points)
    handed = np.zeros((count, count))
    for value in values:
        start = int(np.searchsorted(points, value.made, side="right"))
        stop = int(np.searchsorted(points, value.read[-1], side="right"))
        handed[start:, :stop] += value.bytes
    return handed


def _narrowest(load: Workload, limit: int) -> tuple[int, ...]:
    """At most `limit` boundaries: all of them, or the narrowest of each run of equal work."""
    if len(load.boundaries) <= limit:
        return load.boundaries
    spent = np.cumsum(load.seconds)
    share = spent[-1] / limit
    runs: dict[int, list[int]] = {}
    for at in load.boundaries:
        runs.setdefault(int(spent[at - 1] / share), []).append(at)
    crossing = _crossing(load)
    return tuple(sorted(min(run, key=lambda at: (crossing[at], at)) for run in runs.values()))


def _crossing(load: Workload) -> npt.NDArray[np.int64]:
    change = np.zeros(load.end + 2, np.int64)
    for value in load.values:
        change[value.made + 1] += value.bytes
        change[value.read[-1] + 1] -= value.bytes
    return np.cumsum(change)
