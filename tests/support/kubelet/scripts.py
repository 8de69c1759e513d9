"""Scripts of the runtime's pods: what a shard and the finish step do when all goes well, and parts for when not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.container import FINISH_COMMAND
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.layout import GALLERY_INDEX, MANIFEST
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import GpuSeconds, PlanSummary, Progress, SecondsPerItem, Throughput
from asyncdiff_api.formats.result import OutputKeys, Result

from support.kubelet.steps import Exit, Report, Say, Script, Start

Manifest = Mapping[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
SPEED = Throughput(
    items_per_second=2.0,
    items_per_gpu_hour=1800.0,
    seconds_per_item=SecondsPerItem(p50=1.0, p95=1.5),
    milliseconds_per_step=20.0,
    speedup=3.5,
    gpu_seconds=GpuSeconds(load=4.0, generate=8.0, upload=0.5, idle=0.5),
)
PLAN = PlanSummary(
    strategy="Lookahead",
    stages=2,
    data_parallel=1,
    guidance_groups=2,
    predicted_seconds_per_item=1.0,
    reason="named by the job",
    model_commit="462165984030d82259a11f4367a4eed129e94a7b",
    schedule_digest="sha256:a23474cc63e39b5fce88d29092d189ff3036d0b786f4ddca0b5437716d2547ab",
)


def is_finish(pod: Manifest) -> bool:
    """Whether the pod is of the finish step."""
    container = pod["spec"]["containers"][0]
    return bool([*container.get("command", ()), *container.get("args", ())][-1:] == [FINISH_COMMAND[-1]])


def shard_of(pod: Manifest) -> int:
    """The number of the shard that a pod works off."""
    return int(pod["metadata"]["annotations"][INDEX])


def attempt_of(pod: Manifest) -> str:
    """The attempt, eight hexadecimal digits."""
    return str(pod["metadata"]["uid"])[:8]


def counts(total: int | None, done: int, *, failed: int = 0, rejected: int = 0) -> ItemCounts:
    """Items by outcome."""
    return ItemCounts(total=total, done=done, failed=failed, rejected=rejected)


def shard_result(
    pod: Manifest,
    shards: int,
    items: ItemCounts,
    *,
    ends: ExitCode | None = ExitCode.DONE,
    reason: str = Reason.ALL_ITEMS_DONE,
    message: str = "",
) -> Result:
    """The termination message of a shard; `ends` None for one that is rewritten later."""
    return Result(
        scope="Shard",
        shard=shard_of(pod),
        shards=shards,
        attempt=attempt_of(pod),
        sequence=items.done + items.failed + items.rejected,
        final=ends is not None,
        exit_code=ends,
        reason=reason if ends is not None else Reason.GENERATING,
        message=message,
        items=items,
        throughput=SPEED,
        plan=PLAN,
    )


def job_result(
    pod: Manifest, shards: int, items: ItemCounts, *, reason: str = Reason.ALL_ITEMS_DONE, message: str = ""
) -> Result:
    """The termination message of the finish step."""
    return Result(
        scope="Job",
        shards=shards,
        attempt=attempt_of(pod),
        sequence=1,
        final=True,
        exit_code=ExitCode.DONE,
        reason=reason,
        message=message,
        items=items,
        throughput=SPEED,
        plan=PLAN,
        output=OutputKeys(manifest=MANIFEST, gallery=GALLERY_INDEX),
    )


def progress(pod: Manifest, shards: int, items: ItemCounts, *, phase: str = "Generating") -> Progress:
    """What a shard's pod reports at work."""
    return Progress(
        shard=shard_of(pod),
        shards=shards,
        attempt=attempt_of(pod),
        sequence=1,
        uptime_seconds=9.0,
        phase=phase,
        items=items,
        running=1,
        seconds_since_item=0.5,
        remaining_seconds=2.0,
        throughput=SPEED,
        plan=PLAN,
        world_size=1,
    )


def all_goes_well(shards: int, items_per_shard: int) -> Callable[[Manifest], Script]:
    """Every shard makes its items at once, and the finish step counts them."""

    def script(pod: Manifest) -> Script:
        if is_finish(pod):
            total = shards * items_per_shard
            return Script((Start(), Say(job_result(pod, shards, counts(total, total))), Exit()))
        done = counts(items_per_shard, items_per_shard)
        half = counts(items_per_shard, items_per_shard // 2)
        return Script(
            (
                Start(),
                Report(progress(pod, shards, half)),
                Say(shard_result(pod, shards, half, ends=None)),
                Say(shard_result(pod, shards, done)),
                Exit(),
            )
        )

    return script
