"""How fast a job goes and when it should end, from the reports of its running pods.

Numbers are rounded to what a person reads, so that a status does not change where nothing has.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from asyncdiff_api.formats import progress
from asyncdiff_api.status import GpuSeconds, ItemCounts, SecondsPerItem, Throughput

from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.reading.times import whole_seconds
from asyncdiff_operator.situation import Situation

MOST: Final = 1e12
"""Largest rate that a status may hold."""


def throughput(situation: Situation, gpu_seconds: GpuSeconds) -> Throughput | None:
    """Adds up the rates of the pods that run, and takes the middle of what is said of one item or step.

    What nobody says now stays as it was last said, but for rates: nothing that stands still has one.
    """
    before = situation.memory.status.throughput or Throughput()
    live = [
        report.progress.throughput
        for report in situation.fresh_reports.values()
        if report.progress.throughput is not None
    ]
    ended = [pod.result.throughput for pod in _newly_ended(situation) if pod.result is not None]
    parts = live or [part for part in ended if part is not None]
    rates = [part.items_per_second for part in live if part.items_per_second is not None]
    gpus = len(rates) * situation.job.spec.parallelism.gpus_per_pod
    found = Throughput(
        items_per_second=printed(sum(rates)) if rates else None,
        items_per_gpu_hour=printed(sum(rates) * 3600 / gpus) if rates else None,
        seconds_per_item=_seconds_per_item(parts) or before.seconds_per_item,
        milliseconds_per_step=_median(parts, lambda part: part.milliseconds_per_step)
        or before.milliseconds_per_step,
        speedup=_median(parts, lambda part: part.speedup) or before.speedup,
        gpu_seconds=gpu_seconds if any((gpu_seconds.model_dump()).values()) else None,
    )
    return None if found == Throughput() else found


def final_throughput(running: Throughput | None, items: ItemCounts, seconds: float) -> Throughput | None:
    """Gives what stays of a job's speed: its items over its whole time, and over all its GPUs' time."""
    done = items.done or 0
    if not done or seconds <= 0:
        return running
    spent = running.gpu_seconds if running is not None else None
    gpu_hours = sum(value or 0.0 for value in spent.model_dump().values()) / 3600 if spent else 0.0
    return (running or Throughput()).model_copy(
        update={
            "items_per_second": printed(done / seconds),
            "items_per_gpu_hour": printed(done / gpu_hours) if gpu_hours else None,
        }
    )


def expected_end(situation: Situation, items: ItemCounts, speed: Throughput | None) -> datetime | None:
    """Gives when the job should end at this rate; the last estimate while it is about right."""
    rate = speed.items_per_second if speed is not None else None
    if not rate or items.total is None:
        return None
    left = max(items.total - (items.done or 0) - (items.failed or 0) - (items.rejected or 0), 0)
    try:
        estimate = whole_seconds(situation.now + timedelta(seconds=left / rate))
    except OverflowError:
        return None
    before = situation.memory.status.estimated_completion_time
    slack = max(15.0, 0.05 * left / rate)
    if before is not None and abs((estimate - before).total_seconds()) <= slack:
        return before
    return estimate


def printed(value: float) -> float:
    """Rounds to three digits."""
    return float(f"{min(value, MOST):.3g}")


def _newly_ended(situation: Situation) -> Iterable[ChildPod]:
    """Pods whose results are read in this round anyway; those of accounted shards have been heard."""
    accounted = situation.memory.accounted_shards
    return (pod for pod in situation.shard_pods if pod.ended and pod.shard not in accounted)


def _seconds_per_item(parts: Iterable[progress.Throughput]) -> SecondsPerItem | None:
    known = [part.seconds_per_item for part in parts if part.seconds_per_item is not None]
    if not known:
        return None
    return SecondsPerItem(
        p50=printed(statistics.median(seconds.p50 for seconds in known)),
        p95=printed(max(seconds.p95 for seconds in known)),
    )


def _median(
    parts: Iterable[progress.Throughput], value: Callable[[progress.Throughput], float | None]
) -> float | None:
    known = [number for part in parts if (number := value(part)) is not None]
    return printed(statistics.median(known)) if known else None
