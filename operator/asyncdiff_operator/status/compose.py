"""The whole status of a job, from what its conditions should say and what is counted."""

from __future__ import annotations

from datetime import datetime

from asyncdiff_api.formats.result import Result
from asyncdiff_api.status import (
    ConditionStatus,
    ConditionType,
    ItemCounts,
    JobStatus,
    ShardCounts,
    Throughput,
)

from asyncdiff_operator.names import pod_selector
from asyncdiff_operator.reading.times import seconds_between, whole_seconds
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stands, conditions, phase_of
from asyncdiff_operator.status.output import output_report, plan_report, resolved
from asyncdiff_operator.status.throughput import expected_end, final_throughput, throughput
from asyncdiff_operator.status.totals import MOST, Totals, totals


def compose(situation: Situation, stands: Stands, shards: int | None, word: Result | None) -> JobStatus:
    """Gives the status.

    Args:
        situation: What was observed.
        stands: What the conditions should say.
        shards: Number of shards, once children exist or are being made.
        word: What the finish step said at its end.
    """
    now, memory = situation.now, situation.memory
    generation = int(situation.manifest["metadata"].get("generation") or 0)
    found = conditions(stands, memory, generation, now)
    ended = _holds(stands, ConditionType.COMPLETE) or _holds(stands, ConditionType.FAILED)
    counted = totals(situation)
    items = _final_items(counted, word) if ended else counted.items
    started_at = memory.started_at or (whole_seconds(now) if situation.has_started else None)
    speed = throughput(situation, counted.gpu_seconds)
    return JobStatus(
        observed_generation=generation,
        phase=phase_of(found),
        conditions=found,
        items=items if shards is not None else None,
        shards=None if shards is None else _shards(situation, shards, ended=ended),
        accounted_shards=counted.accounted_shards,
        accounted_items=counted.accounted_items if counted.accounted_shards else None,
        accounted_gpu_seconds=counted.accounted_gpu_seconds if counted.accounted_shards else None,
        throughput=_final_speed(speed, items, started_at, now) if ended else speed,
        plan=plan_report(situation),
        output=output_report(situation.job.spec.output, word.output if word is not None and ended else None),
        resolved=resolved(situation),
        pods=0 if ended else sum(pod.running for pod in situation.shard_pods),
        selector=pod_selector(situation.manifest),
        start_time=started_at,
        completion_time=whole_seconds(now) if ended else None,
        estimated_completion_time=None if ended else expected_end(situation, items, speed),
    )


def _holds(stands: Stands, kind: ConditionType) -> bool:
    return kind in stands and stands[kind].status is ConditionStatus.TRUE


def _shards(situation: Situation, shards: int, *, ended: bool) -> ShardCounts:
    job = situation.shards_job
    completed, failed = (job.completed, job.failed) if job is not None else (frozenset(), frozenset())
    running = {pod.shard for pod in situation.shard_pods if pod.running} - completed - failed
    if job is None:
        before = situation.memory.status.shards or ShardCounts(total=shards, succeeded=0, failed=0)
        return before.model_copy(update={"running": 0})
    return ShardCounts(
        total=shards, succeeded=len(completed), running=0 if ended else len(running), failed=len(failed)
    )


def _final_items(counted: Totals, word: Result | None) -> ItemCounts:
    """The finish step has read the ledger, so its word stands; without it, that of the shards."""
    if word is None:
        return counted.items.model_copy(update={"running": 0})
    items = word.items
    return ItemCounts(
        total=min(items.total, MOST) if items.total is not None else counted.items.total,
        done=min(items.done, MOST),
        failed=min(items.failed, MOST),
        rejected=min(items.rejected, MOST),
        running=0,
    )


def _final_speed(
    speed: Throughput | None, items: ItemCounts, started_at: datetime | None, now: datetime
) -> Throughput | None:
    seconds = seconds_between(started_at, now) if started_at is not None else 0.0
    return final_throughput(speed, items, seconds)
