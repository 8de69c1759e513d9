"""What Prometheus can ask the operator. Names and units are in docs/reference/operator.md, made from here."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from asyncdiff_operator.client import Call
from asyncdiff_operator.observed import Manifest

SECONDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    1.5,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    60.0,
)
ITEM_STATES: Final = ("done", "failed", "rejected", "running")


class Metrics:
    """The operator's own metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU seconds, open files of this process
        self.reconcile_seconds = Histogram(
            "asyncdiff_operator_reconcile_seconds",
            "Seconds that one look at a job took, from the queue to its last write.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.lag_seconds = Histogram(
            "asyncdiff_operator_event_lag_seconds",
            "Seconds from the event that wanted a look at a job, or from the end of a delay that was meant, to the end "
            "of that look.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.retries = Counter(
            "asyncdiff_operator_retries_total",
            "Looks at a job that failed and are tried again, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.api_calls = Counter(
            "asyncdiff_operator_api_calls_total",
            "Requests to the API server by verb, resource and HTTP status; status 0 is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "asyncdiff_operator_api_call_seconds",
            "Seconds that requests to the API server took, by verb.",
            ["verb"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "asyncdiff_operator_queue_depth",
            "Jobs that are due to be looked at and wait for a worker.",
            registry=self.registry,
        )
        self.queue_oldest_seconds = Gauge(
            "asyncdiff_operator_queue_oldest_seconds",
            "For how many seconds the first of them has waited.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "asyncdiff_operator_leader",
            "1 on the replica that may write, else 0.",
            registry=self.registry,
        )

    def count_call(self, call: Call) -> None:
        """Counts a request to the API server."""
        self.api_calls.labels(call.verb, call.resource, str(call.code)).inc()
        self.api_seconds.labels(call.verb).observe(call.seconds)


class JobMetrics(Collector):
    """What the statuses of the jobs add up to, whenever it is asked."""

    def __init__(self, jobs: Callable[[], Iterable[Manifest]]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Adds up the statuses by namespace."""
        phases: Counts[tuple[str, str]] = Counts()
        items: Counts[tuple[str, str]] = Counts()
        gpu_seconds: Counts[tuple[str, str]] = Counts()
        for job in self._jobs():
            namespace, status = job["metadata"]["namespace"], job.get("status") or {}
            phases[namespace, status.get("phase") or "Pending"] += 1
            for state in ITEM_STATES:
                items[namespace, state] += (status.get("items") or {}).get(state) or 0
            for activity, seconds in _gpu_seconds(status).items():
                gpu_seconds[namespace, activity] += seconds or 0
        yield _family(
            "asyncdiff_jobs", "AsyncDiffJobs that exist, by phase. From the leader alone.", "phase", phases
        )
        yield _family(
            "asyncdiff_items",
            "Items of the jobs that exist, by state. From the leader alone.",
            "state",
            items,
        )
        yield _family(
            "asyncdiff_gpu_seconds",
            "Seconds of one GPU that the jobs that exist have used, by what for. From the leader alone.",
            "activity",
            gpu_seconds,
        )


def _gpu_seconds(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("throughput") or {}).get("gpuSeconds") or {}


def _family(
    name: str, documentation: str, label: str, values: Mapping[tuple[str, str], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["namespace", label])
    for (namespace, kind), value in sorted(values.items()):
        family.add_metric([namespace, kind], value)
    return family
