"""How fast the operator is with many jobs, and what it costs: reconcile seconds, API writes, memory, CPU.

    PYTHONPATH=tests .venv-control/bin/python bench/control_plane.py --json bench/results/control-plane-2-cores.json

etcd, API server, controllers and scheduler are real and share this machine with the operator; pods move by the
kubelet of the tests, and no container runs. All jobs are created as fast as the API server takes them. When the
last has ended, the operator is left alone for a while: it should then write its Lease and nothing else.
"""

import argparse
import json
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.admission import install_crd
from support.cluster import Cluster, reference
from support.kubelet import Node, all_goes_well, kubelet
from support.operator import Nursery, Operator, operator_on
from support.operator.jobs import submit, writes_of
from support.processes import wait_until

ITEMS_PER_SHARD = 4
USER = "benched-operator"
HISTOGRAM = re.compile(r'^(?P<name>\w+)_bucket\{le="(?P<bound>[^"]+)"\} (?P<count>\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Quantiles:
    """Seconds, read from a histogram: right to the width of its buckets."""

    looks: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Bench:
    """One run.

    Attributes:
        seconds: From the first job's creation to the last one's end.
        reconcile: A look at a job, from the queue to its last write.
        lag: From the first event about a job to the end of the look that it caused.
        writes_per_job: By verb and resource.
        most_status_writes: Of one job.
        idle_writes: In `idle_seconds` after the end, the Lease aside.
        peak_megabytes: The operator's memory.
        cpu_seconds: Of each process until the last job's end.
    """

    jobs: int
    pods: int
    seconds: float
    reconcile: Quantiles
    lag: Quantiles
    writes_per_job: dict[str, float]
    most_status_writes: int
    idle_seconds: float
    idle_writes: int
    peak_megabytes: float
    cpu_seconds: dict[str, float]


def main() -> None:
    options = arguments()
    scripts = all_goes_well(options.shards, ITEMS_PER_SHARD)
    with (
        Cluster.start_control_plane() as cluster,
        kubelet(
            cluster, Node(name="gpus", gpus=100_000, cpu="100k", memory="1Pi", pods=100_000), scripts=scripts
        ),
        Nursery() as nursery,
    ):
        install_crd(cluster.api)
        namespace = cluster.namespace()
        with operator_on(
            nursery,
            cluster,
            namespace,
            identity=USER,
            lease_seconds="15",
            progress_seconds="5",
            status_seconds="5",
        ) as operator:
            bench = run(cluster, operator, namespace, options)
    print(json.dumps(asdict(bench), indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps({**asdict(bench), "machine": machine()}, indent=1) + "\n")


def run(cluster: Cluster, operator: Operator, namespace: str, options: argparse.Namespace) -> Bench:
    before, since = cpu_of(cluster, operator), cluster.audit.position()
    began = time.perf_counter()
    sizes = {"spec.generate.seeds": {"count": options.shards * ITEMS_PER_SHARD}}
    sizes["spec.parallelism"] = {"shards": options.shards, "pods": options.shards, "gpusPerPod": 1}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: submit(cluster.api, namespace, sizes, f"job-{n}"), range(options.jobs)))
    wait_until(
        lambda: complete(operator, namespace) == options.jobs,
        what=f"{options.jobs} jobs to complete",
        seconds=3600,
        pause=1,
    )
    seconds = time.perf_counter() - began
    after, page = cpu_of(cluster, operator), operator.page("/metrics")
    writes = [event for event in writes_of(cluster, USER, since) if event.code < 300]
    quiet = cluster.audit.position()
    time.sleep(options.idle)
    kinds = Counter(f"{event.verb} {event.resource}" for event in writes)
    of_status = Counter(event.name for event in writes if event.resource == "asyncdiffjobs/status")
    pods = len(cluster.api.items(reference("v1", "Pod", namespace=namespace)))
    return Bench(
        jobs=options.jobs,
        pods=pods,
        seconds=round(seconds, 2),
        reconcile=quantiles(page, "asyncdiff_operator_reconcile_seconds"),
        lag=quantiles(page, "asyncdiff_operator_event_lag_seconds"),
        writes_per_job={kind: round(count / options.jobs, 2) for kind, count in sorted(kinds.items())},
        most_status_writes=max(of_status.values()),
        idle_seconds=options.idle,
        idle_writes=len(writes_of(cluster, USER, quiet)),
        peak_megabytes=round(peak_megabytes(operator), 1),
        cpu_seconds={name: round(after[name] - before[name], 1) for name in after},
    )


def complete(operator: Operator, namespace: str) -> float:
    """Jobs that are complete, as the operator's own metrics say."""
    return operator.metric(f'asyncdiff_jobs{{namespace="{namespace}",phase="Complete"}}')


def quantiles(page: str, name: str) -> Quantiles:
    """Reads a histogram of a metrics page."""
    buckets = [
        (float(found["bound"]), float(found["count"]))
        for found in HISTOGRAM.finditer(page)
        if found["name"] == name
    ]
    return Quantiles(int(buckets[-1][1]), *(quantile(buckets, share) for share in (0.5, 0.95, 0.99)))


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """The value below which a share of the observations lies, linear within its bucket; the last bound for more."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets[:-1]:
        if count >= wanted:
            return round(low + (bound - low) * (wanted - below) / max(count - below, 1), 4)
        low, below = bound, count
    return low


def cpu_of(cluster: Cluster, operator: Operator) -> dict[str, float]:
    """Seconds of CPU that each process has used; the kubelet's thread is of this process."""
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    used = {name: cpu_seconds(cluster.processes.pid(name)) for name in names}
    return {**used, "operator": cpu_seconds(operator.process.pid), "kubelet": time.process_time()}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(operator: Operator) -> float:
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def machine() -> Mapping[str, Any]:
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument(
        "--shards", type=int, default=1, help="pods of each job, beside that of its finish step"
    )
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to look on when all have ended")
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
