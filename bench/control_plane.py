"""How fast the operator is with many jobs, and what it costs: event to applied, API writes, memory, CPU.

    PYTHONPATH=tests .venv-control/bin/python bench/control_plane.py --rate 2 --life 100 --items 10

etcd, API server, controllers and scheduler are real and share this machine with the operator; pods move by the
kubelet of the tests, and no container runs. Two loads:

| load | what |
| --- | --- |
| burst | all jobs are created as fast as the API server takes them, and pods end at once: every core is busy |
| steady, `--rate` | jobs come at a rate, whatever the answers; pods work `--life` seconds, item by item |

Event to applied is read from the API server's audit log, by one clock, of which the operator knows nothing: from the
answer to the write that the operator has to act upon, to the answer to the operator's own. When the last job has
ended, the operator is left alone for a while: it should then write its Lease and nothing else.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asyncdiff_operator.names import finish_name, shards_name
from support.admission import install_crd
from support.cluster import AuditEvent, Cluster, reference
from support.kubelet import (
    Exit,
    Node,
    Report,
    Say,
    Script,
    Start,
    Wait,
    all_goes_well,
    counts,
    is_finish,
    kubelet,
    progress,
    shard_result,
)
from support.operator import Nursery, Operator, operator_on
from support.operator.jobs import submit, writes_of
from support.processes import wait_until

USER = "benched-operator"
HISTOGRAM = re.compile(r'^(?P<name>\w+)_bucket\{le="(?P<bound>[^"]+)"\} (?P<count>\S+)$', re.MULTILINE)

PHASES = re.compile(r'^asyncdiff_jobs\{.*phase="(?P<phase>\w+)"\} (?P<jobs>\S+)$', re.MULTILINE)
# with every core busy, a renewal takes longer than the Lease's usual time; nobody takes over here
LEASE_SECONDS = "120"
SECONDS_PER_MOMENT = 10.0
MOST_SECONDS = 7200.0

Document = dict[str, Any]
Written = Mapping[tuple[str, str, str], Sequence[float]]
"""When writes were answered, by verb, resource and name."""


@dataclass(frozen=True)
class Load:
    """What the operator is given to do.

    Attributes:
        jobs: How many.
        shards: Pods of each job, beside that of its finish step.
        items: Of each shard.
        rate: Jobs a second; 0 creates all as fast as the API server takes them.
        life: Seconds for which each pod of a shard works; 0 ends it at once.
        idle: Seconds to look on when all have ended.
    """

    jobs: int = 200
    shards: int = 1
    items: int = 4
    rate: float = 0.0
    life: float = 0.0
    idle: float = 60.0

    def script(self) -> Callable[[Mapping[str, Any]], Script]:
        """What pods do."""
        at_once = all_goes_well(self.shards, self.items)
        return lambda pod: at_once(pod) if is_finish(pod) or not self.life else self._working(pod)

    def _working(self, pod: Mapping[str, Any]) -> Script:
        """Makes one item after the other."""
        done = [counts(self.items, number) for number in range(self.items + 1)]
        pace = Wait(self.life / self.items)
        work = [step for some in done[:-1] for step in (Report(progress(pod, self.shards, some)), pace)]
        return Script((Start(), *work, Say(shard_result(pod, self.shards, done[-1])), Exit()))


@dataclass(frozen=True)
class Quantiles:
    """Seconds."""

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Moment:
    """Seconds since the first job's creation, the operator's memory, the jobs that it knows, and those complete."""

    seconds: float
    megabytes: float
    jobs: int
    ended: int


@dataclass(frozen=True)
class Bench:
    """One run.

    Attributes:
        load: What the operator was given to do.
        pods: How many there were.
        seconds: From the first job's creation to the last one's end.
        most_alive: Jobs that had not ended at one moment.
        event_to_applied: By what was to be applied; from the audit log.
        look: A look at a job, from the queue to its last write; from the operator's histogram, as the next.
        lag: From the moment from which a look was wanted to its end.
        requests_per_job: Of the operator, by verb and resource, watches and the Lease aside.
        most_status_writes: Of one job.
        idle_writes: While all had ended, the Lease aside.
        peak_megabytes: The operator's memory.
        cpu_seconds: Of each process until the last job's end.
        busy: Their share of all cores in that time.
        course: How its memory grew.
    """

    load: Load
    pods: int
    seconds: float
    most_alive: int
    event_to_applied: dict[str, Quantiles]
    look: Quantiles
    lag: Quantiles
    requests_per_job: dict[str, float]
    most_status_writes: int
    idle_writes: int
    peak_megabytes: float
    cpu_seconds: dict[str, float]
    busy: float
    course: tuple[Moment, ...]


def main() -> None:
    load, target = arguments()
    with (
        Cluster.start_control_plane() as cluster,
        kubelet(cluster, big_node(), scripts=load.script()),
        Nursery() as nursery,
    ):
        install_crd(cluster.api)
        namespace = cluster.namespace()
        with operator_on(
            nursery,
            cluster,
            namespace,
            identity=USER,
            lease_seconds=LEASE_SECONDS,
            progress_seconds="5",
            status_seconds="5",
        ) as operator:
            bench = run(cluster, operator, namespace, load)
        about = {"machine": machine(), "versions": versions(cluster)}
    report(bench)
    if target is not None:
        target.write_text(json.dumps({**asdict(bench), **about}, indent=1) + "\n")


def run(cluster: Cluster, operator: Operator, namespace: str, load: Load) -> Bench:
    before, since = cpu_of(cluster, operator), cluster.audit.position()
    began = time.perf_counter()
    create_jobs(cluster, namespace, load)
    course = look_on(operator, namespace, load.jobs, began)
    seconds = time.perf_counter() - began
    after, page = cpu_of(cluster, operator), operator.page("/metrics")
    answered = [event for event in cluster.audit.events(since) if event.code < 300]
    events = [event for event in answered if event.is_write]
    quiet = cluster.audit.position()
    time.sleep(load.idle)
    jobs = cluster.api.items(reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", namespace=namespace))
    own = [event for event in answered if event.user == USER and event.resource != "leases"]
    kinds = Counter(f"{event.verb} {event.resource}" for event in own if event.verb != "watch")
    of_status = Counter(event.name for event in own if event.resource == "asyncdiffjobs/status")
    used = {name: after[name] - before[name] for name in after}
    return Bench(
        load=load,
        pods=len(cluster.api.items(reference("v1", "Pod", namespace=namespace))),
        seconds=round(seconds, 1),
        most_alive=most_alive(jobs),
        event_to_applied=event_to_applied(written(events), jobs),
        look=histogram(page, "asyncdiff_operator_reconcile_seconds"),
        lag=histogram(page, "asyncdiff_operator_event_lag_seconds"),
        requests_per_job={kind: round(count / load.jobs, 2) for kind, count in sorted(kinds.items())},
        most_status_writes=max(of_status.values()),
        idle_writes=len(writes_of(cluster, USER, quiet)),
        peak_megabytes=megabytes(operator, "VmHWM"),
        cpu_seconds={name: round(spent, 1) for name, spent in used.items()},
        busy=round(sum(used.values()) / seconds / (os.cpu_count() or 1), 2),
        course=course,
    )


def create_jobs(cluster: Cluster, namespace: str, load: Load) -> None:
    """Creates the jobs: at their rate, however long an answer takes, or eight at a time."""
    changes: dict[str, Any] = {
        "spec.generate.seeds": {"count": load.shards * load.items},
        "spec.parallelism": {"shards": load.shards, "pods": load.shards, "gpusPerPod": 1},
    }
    began = time.perf_counter()
    with ThreadPoolExecutor(64 if load.rate else 8) as threads:
        submitted = []
        for number in range(load.jobs):
            if load.rate:
                time.sleep(max(0.0, began + number / load.rate - time.perf_counter()))
            submitted.append(threads.submit(submit, cluster.api, namespace, changes, f"job-{number}"))
    for each in submitted:
        each.result()


def look_on(operator: Operator, namespace: str, jobs: int, began: float) -> tuple[Moment, ...]:
    """Waits until all jobs have ended, and notes how the operator's memory grows."""
    course: list[Moment] = []

    def ended() -> bool:
        try:
            if not operator.is_ready():  # raises if it has ended
                return False
            page = operator.page("/metrics")
        except OSError:  # with every core busy, a page may be late
            return False
        phases = {found["phase"]: int(float(found["jobs"])) for found in PHASES.finditer(page)}
        seconds, done = time.perf_counter() - began, phases.get("Complete", 0)
        if not course or seconds - course[-1].seconds >= SECONDS_PER_MOMENT or done == jobs:
            course.append(Moment(round(seconds, 1), megabytes(operator, "VmRSS"), sum(phases.values()), done))
            print(course[-1], phases, file=sys.stderr, flush=True)
        return done == jobs

    wait_until(ended, what=f"{jobs} jobs of {namespace} to complete", seconds=MOST_SECONDS, pause=1)
    return tuple(course)


def most_alive(jobs: Iterable[Document]) -> int:
    """Jobs that had not ended at one moment, to the second."""
    changes = sorted(
        (datetime.fromisoformat(moment), change)
        for job in jobs
        for moment, change in (
            (job["metadata"]["creationTimestamp"], 1),
            (job["status"]["completionTime"], -1),
        )
    )
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    return most


def written(events: Iterable[AuditEvent]) -> Written:
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        answered = datetime.fromisoformat(event.raw["stageTimestamp"]).timestamp()
        found[event.verb, event.resource, event.name].append(answered)
    return found


def event_to_applied(when: Written, jobs: Iterable[Document]) -> dict[str, Quantiles]:
    """Seconds from what happened to what the operator made of it."""
    found: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        name, shards, finish = job["metadata"]["name"], shards_name(job), finish_name(job)
        steps = {
            "job created: children made": (
                when["create", "asyncdiffjobs", name],
                when["create", "jobs", shards][0],
            ),
            "shards ended: finish step made": (
                when["update", "jobs/status", shards],
                when["create", "jobs", finish][0],
            ),
            "finish step ended: status says so": (
                when["update", "jobs/status", finish],
                when["patch", "asyncdiffjobs/status", name][-1],
            ),
        }
        for step, (causes, effect) in steps.items():
            # answers overtake each other on their way to the log
            found[step].append(effect - max((cause for cause in causes if cause < effect), default=effect))
    return {step: quantiles(sorted(seconds)) for step, seconds in found.items()}


def quantiles(ordered: Sequence[float]) -> Quantiles:
    """Of exact values."""
    ranks = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95, 0.99))
    return Quantiles(len(ordered), *(round(value, 4) for value in ranks))


def histogram(page: str, name: str) -> Quantiles:
    """Of a histogram of a metrics page: right to the width of its buckets."""
    buckets = [
        (float(found["bound"]), float(found["count"]))
        for found in HISTOGRAM.finditer(page)
        if found["name"] == name
    ]
    return Quantiles(int(buckets[-1][1]), *(quantile(buckets, share) for share in (0.5, 0.95, 0.99)))


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The value below which a share of the observations lies, linear within its bucket; the last bound for more."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets[:-1]:
        if count >= wanted:
            return round(low + (bound - low) * (wanted - below) / max(count - below, 1), 4)
        low, below = bound, count
    return low


def cpu_of(cluster: Cluster, operator: Operator) -> dict[str, float]:
    """Seconds of CPU that each process has used; this one is the kubelet, and creates the jobs."""
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    used = {name: cpu_seconds(cluster.processes.pid(name)) for name in names}
    return {**used, "operator": cpu_seconds(operator.process.pid), "kubelet": time.process_time()}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(operator: Operator, field: str) -> float:
    """Of its memory, by a field of `/proc/PID/status`: VmRSS as it is, VmHWM at most."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    return round(int(status.partition(f"{field}:")[2].split()[0]) / 1024, 1)


def big_node() -> Node:
    return Node(name="gpus", gpus=100_000, cpu="100k", memory="1Pi", pods=100_000)


def machine() -> Mapping[str, Any]:
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "system": platform.platform()}


def versions(cluster: Cluster) -> Mapping[str, str]:
    kubernetes = cluster.api.request("GET", "/version")["gitVersion"]
    libraries = {name: version(name) for name in ("kopf", "aiohttp", "pydantic")}
    return {"kubernetes": kubernetes, "python": platform.python_version(), **libraries}


def report(bench: Bench) -> None:
    """Prints what was found."""
    print(f"{'seconds':36}{'count':>8}{'p50':>9}{'p95':>9}{'p99':>9}")
    for name, found in {**bench.event_to_applied, "a look": bench.look, "lag": bench.lag}.items():
        print(f"{name:36}{found.count:8}{found.p50:9.3f}{found.p95:9.3f}{found.p99:9.3f}")
    print(f"\n{'CPU':36}{'seconds':>8}{'a job':>9}{'of all':>9}")
    cores = bench.seconds * (os.cpu_count() or 1)
    for name, spent in bench.cpu_seconds.items():
        print(f"{name:36}{spent:8.1f}{spent / bench.load.jobs:9.3f}{spent / cores:9.1%}")
    print(f"{'together':36}{sum(bench.cpu_seconds.values()):8.1f}{'':9}{bench.busy:9.1%}\n")
    requests = ", ".join(f"{count:g} {kind}" for kind, count in bench.requests_per_job.items())
    print(f"{bench.load.jobs} jobs, {bench.most_alive} at once, {bench.pods} pods in {bench.seconds:.0f} s")
    print(f"requests a job: {requests}; at most {bench.most_status_writes} of one status")
    print(f"writes in {bench.load.idle:g} s when all had ended: {bench.idle_writes}")
    print(f"memory of the operator: {bench.peak_megabytes:.0f} MB at most")


def arguments() -> tuple[Load, Path | None]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in asdict(Load()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--json", type=Path)
    given = vars(parser.parse_args())
    target = given.pop("json")
    return Load(**given), target


if __name__ == "__main__":
    main()
