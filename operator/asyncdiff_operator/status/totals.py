"""Counts of items, never twice: each shard is counted once, by the best word there is of it.

Counts of a shard are cumulative over its attempts, so of several words (results of pods that ended, the report
of one that runs) the one that has counted most is the newest, and no clock is needed to know it. A shard that
has ended for good is accounted: its counts enter `accountedItems`, and its pods are never needed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from asyncdiff_api.formats import manifest as formats
from asyncdiff_api.formats import progress
from asyncdiff_api.formats.result import Result
from asyncdiff_api.generate import Generate
from asyncdiff_api.status import GpuSeconds, ItemCounts

from asyncdiff_operator.reading.indexes import write_runs
from asyncdiff_operator.reading.pods import ChildPod
from asyncdiff_operator.situation import Situation

MOST: Final = 2**53 - 1
"""Largest count that a status may hold; pods may say anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What is known of a job's items."""

    items: ItemCounts
    gpu_seconds: GpuSeconds
    accounted_shards: tuple[str, ...]
    accounted_items: ItemCounts
    accounted_gpu_seconds: GpuSeconds


class _Word(NamedTuple):
    """What a pod has said last."""

    items: formats.ItemCounts | None
    gpu_seconds: progress.GpuSeconds | None


class _Shard(NamedTuple):
    """What is known of a shard."""

    number: int
    items: formats.ItemCounts | None
    gpu_seconds: tuple[progress.GpuSeconds, ...]
    ended: bool
    """Whether the counts are its last."""


def totals(situation: Situation) -> Totals:
    """Counts the items of all shards."""
    memory = situation.memory
    shards = tuple(_unaccounted(situation))
    ended = tuple(shard for shard in shards if shard.ended)
    accounted = memory.accounted_shards | {shard.number for shard in ended}
    accounted_items = _sum_items(memory.accounted_items, ended)
    accounted_seconds = _sum_seconds(memory.accounted_gpu_seconds, ended)
    live = tuple(shard for shard in shards if not shard.ended)
    counted = _sum_items(accounted_items, live)
    known = len(accounted) + sum(shard.items is not None for shard in live)
    everything = situation.shards_job is not None and known >= situation.shards_job.shards
    total = _items_of_prompts(situation.job.spec.generate) or (counted.total if everything else None)
    running = sum(report.progress.running for report in situation.fresh_reports.values())
    items = counted.model_copy(update={"total": total, "running": _bounded(running)})
    return Totals(
        items=_never_back(items, memory.status.items),
        gpu_seconds=_at_least(_sum_seconds(accounted_seconds, live), _remembered_seconds(situation)),
        accounted_shards=write_runs(accounted),
        accounted_items=accounted_items,
        accounted_gpu_seconds=accounted_seconds,
    )


def _unaccounted(situation: Situation) -> Iterator[_Shard]:
    """Reads what pods say of shards that are not accounted; pods of the others are not even looked at."""
    job = situation.shards_job
    for shard, pods in situation.pods_by_shard.items():
        if shard in situation.memory.accounted_shards:
            continue
        words = [_word(situation, pod) for pod in pods]
        counted = [word.items for word in words if word.items is not None]
        seconds = tuple(word.gpu_seconds for word in words if word.gpu_seconds is not None)
        ended = False
        if job is not None and shard in job.completed:
            ended = any(pod.phase == "Succeeded" and pod.result is not None for pod in pods)
        elif job is not None and shard in job.failed:
            ended = bool(counted) and all(pod.ended for pod in pods)
        yield _Shard(shard, max(counted, key=_advance, default=None), seconds, ended)


def _word(situation: Situation, pod: ChildPod) -> _Word:
    said: Result | progress.Progress | None = None
    if pod.ended:
        said = pod.result
    elif (report := situation.observed.reports.get(pod.uid)) is not None:
        said = report.progress
    if said is None:
        return _Word(None, None)
    return _Word(said.items, None if said.throughput is None else said.throughput.gpu_seconds)


def _advance(items: formats.ItemCounts) -> tuple[int, int]:
    """Orders words of one shard by how much it had counted; a retry may turn a failed item into a done one."""
    return items.done + items.rejected + items.failed, items.done


def _sum_items(base: ItemCounts, shards: Iterable[_Shard]) -> ItemCounts:
    known = [shard.items for shard in shards if shard.items is not None]
    totals = [base.total, *(items.total for items in known)]
    return ItemCounts(
        total=None if None in totals else _bounded(sum(total or 0 for total in totals)),
        done=_bounded((base.done or 0) + sum(items.done for items in known)),
        failed=_bounded((base.failed or 0) + sum(items.failed for items in known)),
        rejected=_bounded((base.rejected or 0) + sum(items.rejected for items in known)),
    )


def _items_of_prompts(generate: Generate) -> int | None:
    """Items of inline prompts, if no two can be the same; None where the shards have to count."""
    if generate.prompts is None or len(set(generate.prompts)) < len(generate.prompts):
        return None
    return len(generate.prompts) * generate.seeds.count


def _never_back(items: ItemCounts, before: ItemCounts | None) -> ItemCounts:
    """Keeps counts of pods that are gone and whose successors have not counted yet."""
    if before is None:
        return items
    names = ("done", "failed", "rejected")
    kept = {name: max(getattr(items, name) or 0, getattr(before, name) or 0) for name in names}
    if items.total is not None and sum(kept.values()) > items.total:
        return items
    return items.model_copy(update=kept)


_SECONDS: Final = tuple(GpuSeconds.model_fields)


def _sum_seconds(base: GpuSeconds, shards: Iterable[_Shard]) -> GpuSeconds:
    parts = [base, *(seconds for shard in shards for seconds in shard.gpu_seconds)]
    sums = {name: sum(getattr(part, name) or 0.0 for part in parts) for name in _SECONDS}
    return GpuSeconds(**{name: float(round(min(value, 1e12))) for name, value in sums.items()})


def _remembered_seconds(situation: Situation) -> GpuSeconds:
    throughput = situation.memory.status.throughput
    return GpuSeconds() if throughput is None or throughput.gpu_seconds is None else throughput.gpu_seconds


def _at_least(seconds: GpuSeconds, before: GpuSeconds) -> GpuSeconds:
    pairs = {name: (getattr(seconds, name) or 0.0, getattr(before, name) or 0.0) for name in _SECONDS}
    return GpuSeconds(**{name: max(pair) for name, pair in pairs.items()})


def _bounded(count: int) -> int:
    return min(count, MOST)
