"""A pod's Prometheus metrics, made from its view at every scrape; `METRICS` is also their documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from asyncdiff_api.formats.progress import Download, GpuSeconds
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from asyncdiff_runtime.batch.assignment import ITEM_SECONDS_BOUNDS, RankState, download_of, made_of
from asyncdiff_runtime.batch.reporting import View
from asyncdiff_runtime.batch.throughput import items_per_second, remaining_seconds, total_gpu_seconds

Labels = tuple[str, ...]
Series = Iterator[tuple[Labels, float]]


@dataclass(frozen=True, kw_only=True)
class Described:
    """A metric that has one number for each set of labels."""

    name: str
    help: str
    labels: Labels = ()
    counts: bool = False
    """Whether it is a counter, which only grows; else a gauge."""
    series: Callable[[View], Series]


def _by_outcome(view: View) -> Series:
    recorded = view.recorded
    yield ("accepted",), recorded.done
    yield ("rejected",), recorded.rejected
    yield ("failed",), recorded.failed


def _gpu_seconds(view: View) -> Series:
    spent = total_gpu_seconds(state.gpu_seconds for state in view.states.values())
    for kind in GpuSeconds.model_fields:
        yield (kind,), getattr(spent, kind)


def _by_rank(value: Callable[[RankState], float | None]) -> Callable[[View], Series]:
    def series(view: View) -> Series:
        for rank, state in sorted(view.states.items()):
            if (found := value(state)) is not None:
                yield (str(rank),), found

    return series


def _one(value: Callable[[View], float | None]) -> Callable[[View], Series]:
    def series(view: View) -> Series:
        if (found := value(view)) is not None:
            yield (), found

    return series


def _of_download(value: Callable[[Download], float | None]) -> Callable[[View], Series]:
    return _one(lambda view: None if (found := download_of(view.states)) is None else value(found))


def _heartbeat_age(state: RankState) -> float | None:
    return state.heartbeat_age_seconds if state.phase != "Ended" else None


METRICS: Final = (
    Described(
        name="asyncdiff_shard_items",
        help="Items of the shard that the ledger holds, earlier pods' included, by outcome.",
        labels=("outcome",),
        series=_by_outcome,
    ),
    Described(
        name="asyncdiff_items_made",
        help="Items that this pod has made.",
        counts=True,
        series=_one(lambda view: made_of(view.states.values())),
    ),
    Described(
        name="asyncdiff_items_running",
        help="Items in hand.",
        series=_one(
            lambda view: sum(state.running for state in view.states.values() if state.items is not None)
        ),
    ),
    Described(
        name="asyncdiff_items_per_second",
        help="Items made per second over the latest five minutes; absent before the first item.",
        series=_one(lambda view: items_per_second(view.samples)),
    ),
    Described(
        name="asyncdiff_shard_remaining_seconds",
        help="Time that the rest of the shard takes at this rate; absent where lines are not counted.",
        series=_one(lambda view: remaining_seconds(view.counts, view.total, items_per_second(view.samples))),
    ),
    Described(
        name="asyncdiff_gpu_seconds",
        help="What ranks spent their time on, summed over them: load, compile, generate, upload (they waited for "
        "encoding and upload) or idle.",
        labels=("kind",),
        counts=True,
        series=_gpu_seconds,
    ),
    Described(
        name="asyncdiff_rank_heartbeat_age_seconds",
        help="Time since a rank's last sign of life: of the item in hand, else of its process.",
        labels=("rank",),
        series=_by_rank(_heartbeat_age),
    ),
    Described(
        name="asyncdiff_rank_evaluation",
        help="Evaluations begun of the item in hand.",
        labels=("rank",),
        series=_by_rank(lambda state: state.evaluation),
    ),
    Described(
        name="asyncdiff_rank_memory_bytes",
        help="Highest GPU memory in use so far; absent on CPUs.",
        labels=("rank",),
        series=_by_rank(lambda state: state.memory_bytes),
    ),
    Described(
        name="asyncdiff_download_received_bytes",
        help="What has come of the model's files; absent but while they are fetched.",
        series=_of_download(lambda download: download.received_bytes),
    ),
    Described(
        name="asyncdiff_download_total_bytes",
        help="Size of the model's files; absent but while they are fetched, and where the hub does not tell it.",
        series=_of_download(lambda download: download.total_bytes),
    ),
    Described(
        name="asyncdiff_upload_queue_items",
        help="Results that wait for encoding and upload.",
        series=_one(lambda view: sum(state.queued for state in view.states.values())),
    ),
    Described(
        name="asyncdiff_written_bytes",
        help="Size of the items that this pod has written.",
        counts=True,
        series=_one(lambda view: sum(state.written_bytes for state in view.states.values())),
    ),
)

ITEM_SECONDS: Final = ("asyncdiff_item_seconds", "Time of an item's generation; in a batch, its share.")
BUILD_INFO: Final = ("asyncdiff_build_info", "Always 1; the labels say which versions run.")
BUILD_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {"version": "asyncdiff-operator", "torch": "torch", "diffusers": "diffusers"}
)
"""Package of each label's version."""


class PodCollector(Collector):
    """Gives a pod's metrics from its view."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        """Gives one family for each metric; one without values has no samples."""
        view = self._view()
        for metric in METRICS:
            yield _family(metric, view)
        yield _item_seconds(view)
        yield _build_info()


def registry_of(view: Callable[[], View]) -> CollectorRegistry:
    """Gives a registry of its own that holds a pod's metrics, and nothing of the process at large."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PodCollector(view))
    return registry


def _family(metric: Described, view: View) -> Metric:
    kind = CounterMetricFamily if metric.counts else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.series(view):
        family.add_metric(labels, value)
    return family


def _item_seconds(view: View) -> Metric:
    family = HistogramMetricFamily(*ITEM_SECONDS)
    durations = [state.item_seconds for state in view.states.values() if state.items is not None]
    totals = [sum(counts) for counts in zip(*(one.counts for one in durations), strict=True)] or [0]
    bounds = [*map(str, ITEM_SECONDS_BOUNDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(totals), strict=False)) if durations else [("+Inf", 0)]
    family.add_metric((), buckets, sum_value=sum(one.sum for one in durations))
    return family


def _build_info() -> Metric:
    family = GaugeMetricFamily(*BUILD_INFO, labels=tuple(BUILD_LABELS))
    family.add_metric([version(package) for package in BUILD_LABELS.values()], 1)
    return family
