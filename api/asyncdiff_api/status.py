"""`status`: what the operator reports. Every field may be missing; nothing in it is a decision to obey."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, PlainSerializer

from asyncdiff_api.fields import Items, Part, Range, Reported, Section, Text


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
Count = Annotated[int, Range(0, 2**53 - 1)]
Seconds = Annotated[float, Range(0.0, 1e12)]
Rate = Annotated[float, Range(0.0, 1e12)]
ADDRESS = Text(2048)
NAME = Text(253)


class Report(Section):
    """An object of the status. Fields that a newer operator added are passed over, not refused."""

    model_config = ConfigDict(extra="ignore")


class Phase(StrEnum):
    """Where a job stands, for people; derived from the conditions and read by no controller."""

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FINISHING = "Finishing"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """The conditions of a job; Reconciling and Stalled are kstatus's."""

    ACCEPTED = "Accepted"
    STARTED = "Started"
    PROGRESSING = "Progressing"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    DEGRADED = "Degraded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Report):
    """One condition, as in every Kubernetes object."""

    type: Annotated[str, Text(316, 1), Reported("Name of the condition, such as Complete.")]
    status: Annotated[ConditionStatus, Reported("True, False or Unknown.")]
    reason: Annotated[
        str,
        Text(1024, 1, "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "a reason in CamelCase"),
        Reported("Why, in one CamelCase word; troubleshooting is ordered by it."),
    ]
    message: Annotated[str, Text(32768), Reported("Why, in a sentence for the person who must act.")] = ""
    last_transition_time: Annotated[Timestamp, Reported("When status last changed.")]
    observed_generation: Annotated[
        Count | None, Reported("The metadata.generation that the condition speaks of.")
    ] = None


class ItemCounts(Report):
    """Items by state. total is missing until every shard has counted its lines."""

    total: Annotated[Count | None, Reported("Items of the job, once every shard has counted.")] = None
    done: Annotated[Count | None, Reported("Items written and recorded.")] = None
    failed: Annotated[Count | None, Reported("Items that could not be made.")] = None
    rejected: Annotated[Count | None, Reported("Items made and put under rejected/.")] = None
    running: Annotated[Count | None, Reported("Items in work.")] = None


class ShardCounts(Report):
    """Shards by state."""

    total: Annotated[Count | None, Reported("Shards of the job.")] = None
    succeeded: Annotated[Count | None, Reported("Shards done.")] = None
    running: Annotated[Count | None, Reported("Shards in work.")] = None
    failed: Annotated[Count | None, Reported("Shards given up.")] = None


class SecondsPerItem(Report):
    """Seconds that an item takes on its ranks."""

    p50: Annotated[Seconds | None, Reported("Median, in seconds.")] = None
    p95: Annotated[Seconds | None, Reported("The 95th percentile, in seconds.")] = None


class GpuSeconds(Report):
    """Where the GPUs' time went, in seconds of one GPU."""

    load: Annotated[Seconds | None, Reported("Loading weights.")] = None
    compile: Annotated[Seconds | None, Reported("Capturing and compiling.")] = None
    generate: Annotated[Seconds | None, Reported("Generating.")] = None
    upload: Annotated[Seconds | None, Reported("Waiting for encoders and uploads.")] = None
    idle: Annotated[Seconds | None, Reported("Doing nothing.")] = None


class Throughput(Report):
    """How fast the job goes, over its recent items."""

    items_per_second: Annotated[Rate | None, Reported("Items per second of the whole job.")] = None
    items_per_gpu_hour: Annotated[Rate | None, Reported("Items per GPU and hour.")] = None
    seconds_per_item: Annotated[SecondsPerItem | None, Part("Seconds that an item takes.")] = None
    milliseconds_per_step: Annotated[
        Rate | None, Reported("Milliseconds between two evaluations of a sample.")
    ] = None
    speedup: Annotated[
        Rate | None, Reported("How many times faster one sample is than on one GPU, compiled.")
    ] = None
    gpu_seconds: Annotated[GpuSeconds | None, Part("Where the GPUs' time went.")] = None


class PlanReport(Report):
    """What Auto chose, and why."""

    strategy: Annotated[str | None, Text(64), Reported("Strategy in use, such as Lookahead.")] = None
    stages: Annotated[Count | None, Reported("Ranks that share one sample.")] = None
    data_parallel: Annotated[Count | None, Reported("Samples in work at once in a pod.")] = None
    predicted_seconds_per_item: Annotated[Seconds | None, Reported("Seconds per item as predicted.")] = None
    reason: Annotated[str | None, Text(1024), Reported("Why, in a sentence.")] = None


class OutputReport(Report):
    """Where the results lie."""

    uri: Annotated[str | None, ADDRESS, Reported("Address of the output's folder.")] = None
    manifest: Annotated[str | None, ADDRESS, Reported("Address of manifest.jsonl, once it is written.")] = (
        None
    )
    gallery: Annotated[str | None, ADDRESS, Reported("Address of index.html, once it is written.")] = None


class Resolved(Report):
    """What moving names stood for when the job began."""

    model_commit: Annotated[str | None, Text(256), Reported("Commit of the model's repository.")] = None
    schedule: Annotated[str | None, Text(256), Reported("Digest of the pinned schedule.")] = None
    image: Annotated[str | None, Text(512), Reported("Runtime image by digest.")] = None


class JobStatus(Report):
    """What the operator reports of a job."""

    observed_generation: Annotated[
        Count | None, Reported("The metadata.generation that this status speaks of.")
    ] = None
    phase: Annotated[
        Phase | None, Reported("Where the job stands, for people. Programs read conditions.")
    ] = None
    conditions: Annotated[tuple[Condition, ...], Items(16, key="type"), Part("Conditions by type.")] = ()
    items: Annotated[ItemCounts | None, Part("Items by state.")] = None
    shards: Annotated[ShardCounts | None, Part("Shards by state.")] = None
    accounted_shards: Annotated[
        tuple[Annotated[str, Text(64, 1, "^[0-9]+(-[0-9]+)?$", "a run of shards, such as 0-41")], ...],
        Items(10_000),
        Reported("Shards whose counts are in items for good, as runs such as 0-41."),
    ] = ()
    accounted_items: Annotated[
        ItemCounts | None, Part("What accountedShards add to items; their pods may be gone.")
    ] = None
    accounted_gpu_seconds: Annotated[
        GpuSeconds | None, Part("What accountedShards add to throughput.gpuSeconds.")
    ] = None
    throughput: Annotated[Throughput | None, Part("How fast the job goes.")] = None
    plan: Annotated[PlanReport | None, Part("What Auto chose, and why.")] = None
    output: Annotated[OutputReport | None, Part("Where the results lie.")] = None
    resolved: Annotated[Resolved | None, Part("What moving names stood for when the job began.")] = None
    pods: Annotated[Count | None, Reported("Pods that run; the scale subresource's replicas.")] = None
    selector: Annotated[
        str | None, Text(1024), Reported("Label selector of the pods, for the scale subresource.")
    ] = None
    start_time: Annotated[Timestamp | None, Reported("When the first pod started.")] = None
    completion_time: Annotated[Timestamp | None, Reported("When the job ended.")] = None
    estimated_completion_time: Annotated[Timestamp | None, Reported("When it should end at this rate.")] = (
        None
    )
