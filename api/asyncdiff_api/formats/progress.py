"""The report that a pod serves at `/progress`: what it does now, for people and for the operator's status.

Nothing is decided from it: counts that matter come from results. Ages are in seconds as the pod measured
them, never times of day, so clocks need not agree. Its size is bounded by construction: every field and the
number of ranks are.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field

from asyncdiff_api.formats.document import Document, FormatModel
from asyncdiff_api.formats.errors import DamagedRecordError
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.primitives import Attempt, Count, Name, Rate, Seconds, Sentence, Version, Word

MAX_PROGRESS_BYTES: Final = 2**16
"""A reader stops here; a writer never gets here."""

MAX_RANKS: Final = 64
"""Ranks listed; a larger pod lists the first ones, and `worldSize` counts all."""


class RankProgress(FormatModel):
    """What one rank does."""

    rank: Count
    phase: Word
    """Loading, Compiling, Generating, Waiting, Draining or Ended; a newer version may add others."""
    item: Word | None = None
    """Id of the item in hand; of a batch, of the first."""
    batch: Count = 0
    """Items in hand."""
    evaluation: Count = 0
    """Evaluations done of the item in hand."""
    evaluations: Count = 0
    """Evaluations that the item takes."""
    heartbeat_age_seconds: Seconds = 0.0
    memory_bytes: Count | None = None
    """Highest GPU memory in use so far."""


class Download(FormatModel):
    """How far the model's files have come to a pod's machine."""

    received_bytes: Count
    """What is there, also from earlier pods where the cache is shared."""
    total_bytes: Count | None = None
    """Size of all files; None where the hub does not tell it."""


class GpuSeconds(FormatModel):
    """What GPUs spent their time on, summed over them."""

    load: Seconds = 0.0
    compile: Seconds = 0.0
    generate: Seconds = 0.0
    upload: Seconds = 0.0
    """Waited for encoding and upload."""
    idle: Seconds = 0.0


class SecondsPerItem(FormatModel):
    """Seconds that an item takes on its ranks."""

    p50: Seconds
    p95: Seconds


class Throughput(FormatModel):
    """How fast a pod or a job is; the same fields as `status.throughput`."""

    items_per_second: Rate | None = None
    items_per_gpu_hour: Rate | None = None
    seconds_per_item: SecondsPerItem | None = None
    milliseconds_per_step: Rate | None = None
    """Milliseconds between two evaluations of a sample."""
    speedup: Rate | None = None
    """Against the sequential sampling of the same item, as planned or measured."""
    gpu_seconds: GpuSeconds | None = None


class PlanSummary(FormatModel):
    """What was decided about the layout, once, by the first pod."""

    strategy: Word
    stages: Count = 1
    data_parallel: Count = 1
    guidance_groups: Count = 1
    predicted_seconds_per_item: Seconds | None = None
    reason: Sentence = ""
    model_commit: Name = ""
    schedule_digest: Name = ""
    """Digest of the pinned schedule."""


class Progress(Document):
    """The content of `/progress`."""

    format: Literal["progress"] = "progress"
    version: Version = "1.0"
    shard: Count
    shards: Count
    attempt: Attempt
    sequence: Count
    """Grows by one with every report of the attempt."""
    uptime_seconds: Seconds
    phase: Word
    items: ItemCounts
    """Of the shard, cumulative over attempts."""
    running: Count = 0
    """Items in hand."""
    seconds_since_item: Seconds | None = None
    """Since an item was last finished; None before the first."""
    remaining_seconds: Seconds | None = None
    throughput: Throughput | None = None
    plan: PlanSummary | None = None
    """None until the model is loaded."""
    download: Download | None = None
    """While files of the model are fetched."""
    world_size: Count
    ranks: Annotated[tuple[RankProgress, ...], Field(max_length=MAX_RANKS)] = ()

    @classmethod
    def receive(cls, data: bytes, source: str) -> Self:
        """Reads a report that came over the network.

        Raises:
            DamagedRecordError: It is too large, not JSON, or not a report.
            UnsupportedVersionError: It is of another major version.
        """
        if len(data) > MAX_PROGRESS_BYTES:
            raise DamagedRecordError(
                f"{source} sent {len(data)} bytes; a report has at most {MAX_PROGRESS_BYTES}: it is ignored"
            )
        return cls.parse(data, source)
