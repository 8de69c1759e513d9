"""How fast a pod is, from what its ranks say: plain arithmetic over plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Final

from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import GpuSeconds, SecondsPerItem, Throughput

from asyncdiff_runtime.batch.assignment import RankState

WINDOW_SECONDS: Final = 300.0
"""The rate is that of the latest so many seconds: short enough to follow a change, long for a slow model."""
SAMPLE_SECONDS: Final = 5.0
HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Sample:
    """How many items had been made at one moment."""

    at: float
    """Seconds of the monotonic clock."""
    made: int


Samples = tuple[Sample, ...]
"""The oldest first; the first one is the moment from which the rate counts."""


def sampled(samples: Samples, sample: Sample) -> Samples:
    """Gives the samples with one more, without those that are too old; bounded in number.

    The latest sample is replaced while it is younger than `SAMPLE_SECONDS`, and one that is older than the
    window is kept, so that the rate always spans the window.
    """
    fixed = samples if len(samples) < 2 or sample.at - samples[-2].at >= SAMPLE_SECONDS else samples[:-1]
    young = [index for index, one in enumerate(fixed) if sample.at - one.at <= WINDOW_SECONDS]
    first = max(0, young[0] - 1) if young else max(0, len(fixed) - 1)
    return (*fixed[first:], sample)


def items_per_second(samples: Samples) -> float | None:
    """Gives the rate over the samples; None before the first item."""
    if len(samples) < 2 or samples[-1].made == samples[0].made:
        return None
    return (samples[-1].made - samples[0].made) / (samples[-1].at - samples[0].at)


def remaining_seconds(counts: ItemCounts, total: int | None, rate: float | None) -> float | None:
    """Gives how long the rest takes at a rate; None where the rest or the rate is not known.

    Args:
        counts: Items so far.
        total: Lines that are to become items, duplicates included.
        rate: Items per second.
    """
    if total is None:
        return None
    left = max(0, total - counts.done - counts.rejected - counts.failed - counts.duplicates)
    if not left:
        return 0.0
    return left / rate if rate else None


def throughput_of(states: Mapping[int, RankState], samples: Samples) -> Throughput:
    """Gives how fast the ranks of a pod are; what is not known yet is None."""
    rate = items_per_second(samples)
    leaders = [state for state in states.values() if state.items is not None]
    steps = [state.milliseconds_per_step for state in leaders if state.milliseconds_per_step is not None]
    return Throughput(
        items_per_second=rate,
        items_per_gpu_hour=None if rate is None else rate * HOUR_SECONDS / max(1, len(states)),
        seconds_per_item=quantiles(list(chain.from_iterable(state.recent_seconds for state in leaders))),
        milliseconds_per_step=fmean(steps) if steps else None,
        gpu_seconds=total_gpu_seconds(state.gpu_seconds for state in states.values()),
    )


def quantiles(seconds: Sequence[float]) -> SecondsPerItem | None:
    """Gives median and 95th percentile, by nearest rank; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return SecondsPerItem(p50=_nearest(ordered, 50), p95=_nearest(ordered, 95))


def total_gpu_seconds(spent: Iterable[GpuSeconds]) -> GpuSeconds:
    """Adds up what GPUs spent their time on."""
    parts = list(spent)
    return GpuSeconds(
        **{kind: sum(getattr(part, kind) for part in parts) for kind in GpuSeconds.model_fields}
    )


def _nearest(ordered: Sequence[float], percent: int) -> float:
    return ordered[-(-len(ordered) * percent // 100) - 1]
