"""How long a pod takes from its start to its first item, with and without what is kept between pods.

    PYTHONPATH=tests .venv/bin/python bench/pod_start.py --json bench/results/pod-start-2-cores.json

Each case is a job of one shard on a real node (kubelet, containerd; see tests/support/node), whose model lies in
a bucket of a real S3 server on the same machine: behind a slower line a cache saves more. Needs root, and nothing
else that runs.

| case | what |
| --- | --- |
| source | the packages without bytecode, as where an image is built without it; the model comes from the bucket |
| bytecode | the image as it is built here |
| bytecode and cache | the same, and the model lies in the volume of `pod.modelCacheClaim` since an earlier pod |
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from support.cluster import reference
from support.cluster.access import Access
from support.e2e import ONE_THREAD, small_job, team_namespace, wait_for_end
from support.installation import Installation
from support.installation.existing import installed_and_removed
from support.node import HOST
from support.node.fixtures import node_with_images

BUNDLED = "shapes-unet"
CLAIM = "model-cache"
# Python looks for bytecode there alone, finds none, and is told by the image to write none.
UNCOMPILED = [ONE_THREAD, {"name": "PYTHONPYCACHEPREFIX", "value": "/nowhere"}]
CASES: dict[str, dict[str, Any]] = {
    "source": {"env": UNCOMPILED},
    "bytecode": {},
    "bytecode and cache": {"modelCacheClaim": CLAIM},
}


@dataclass(frozen=True)
class Start:
    """The start of one pod; all seconds count from the kubelet's acceptance of the pod, which is known to a second."""

    case: str
    serving: float
    """Until its pages answer: Python and the contract are imported."""
    prepared: float
    """Until job, output and worklist are checked and the model is found: downloaded, or in the cache."""
    loaded: float
    """Until the ranks have imported torch and diffusers and loaded the model."""
    first_item: float
    """Until the first item lies in the bucket."""


def main() -> None:
    """Measures all cases, one round after the other."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="pod-start-") as folder,
        a_node(options.kubeconfig, Path(folder)) as access,
        installed_and_removed(access, Path(folder), HOST, "localhost") as installation,
    ):
        starts = list(measured(installation, options.rounds, Path(folder)))
    print(f"{'':20} {'serving':>9} {'prepared':>9} {'loaded':>9} {'first item':>11}")
    for start in starts:
        print(
            f"{start.case:20} {start.serving:8.1f}s {start.prepared:8.1f}s {start.loaded:8.1f}s "
            f"{start.first_item:10.1f}s"
        )
    if options.json:
        options.json.write_text(json.dumps(result(starts), indent=2) + "\n")


@contextmanager
def a_node(kubeconfig: Path | None, folder: Path) -> Iterator[Access]:
    """The node of a kubeconfig, or one that goes again."""
    if kubeconfig:
        yield Access.by(kubeconfig)
        return
    with node_with_images(folder) as node:
        yield Access.by(node.cluster.kubeconfig)


def measured(installation: Installation, rounds: int, folder: Path) -> Iterator[Start]:
    """Runs the jobs; the pod that fills the cache is no case."""
    model = installation.s3.bucket("models")
    upload(installation, model)
    namespace = team_namespace(installation.cluster, installation.s3)
    make_claim(installation, namespace, folder / "cache")
    start(installation, namespace, model, "bytecode and cache", "filling")
    for number in range(rounds):
        for case in CASES:
            yield start(installation, namespace, model, case, f"{case.replace(' ', '-')}-{number}")
    # It goes when its claim does, and that with its namespace.
    installation.cluster.kubectl("delete", "persistentvolume", CLAIM, "--wait=false")


def upload(installation: Installation, bucket: str) -> None:
    """Leaves the small model of the package in a bucket."""
    client = installation.s3.client()
    with resources.as_file(resources.files("asyncdiff_runtime") / "bundled" / BUNDLED) as root:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), bucket, f"{BUNDLED}/{path.relative_to(root)}")


def make_claim(installation: Installation, namespace: str, folder: Path) -> None:
    """Makes a volume that keeps the cache, on the node's own disk."""
    folder.mkdir()
    folder.chmod(0o777)
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    volume = {
        "capacity": size,
        "accessModes": modes,
        "storageClassName": "by-hand",
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace, "name": CLAIM},
    }
    claim = {"accessModes": modes, "storageClassName": "by-hand", "resources": {"requests": size}}
    api = installation.cluster.api
    api.create({**reference("v1", "PersistentVolume", CLAIM), "spec": volume})
    api.create({**reference("v1", "PersistentVolumeClaim", CLAIM, namespace), "spec": claim})


def start(installation: Installation, namespace: str, model: str, case: str, name: str) -> Start:
    """Runs one job to its end and reads when its pod was where."""
    cluster, bucket = installation.cluster, installation.s3.bucket()
    job = small_job(
        name,
        namespace,
        bucket,
        model={"bundled": None, "s3": f"s3://{model}/{BUNDLED}/"},
        generate={"seeds": {"count": 1}, "steps": 4},
        parallelism={"gpusPerPod": 1, "pods": 1, "shards": 1, "strategy": "Data", "lookahead": None},
        pod=CASES[case],
    )
    cluster.api.create(job)
    status = wait_for_end(cluster, job)
    if status["items"]["done"] != 1:
        raise RuntimeError(f"job {name} did not complete: {status}")
    label = f"asyncdiff.dev/job-name={name},asyncdiff.dev/step=shards"
    (pod,) = cluster.api.items(reference("v1", "Pod", namespace=namespace), labelSelector=label)
    began = seconds_of(pod["status"]["startTime"])
    log = cluster.kubectl("-n", namespace, "logs", "--timestamps", pod["metadata"]["name"])
    data = installation.s3.processes.path / "data" / bucket / name / "items"
    written = min(path.stat().st_mtime for path in data.rglob("*") if path.is_file())
    said = {
        words: seconds_said(log, words) - began for words in ("serving", "prepared", "the model is loaded")
    }
    found = Start(case, *(round(seconds, 1) for seconds in (*said.values(), written - began)))
    print(found, flush=True)
    return found


def seconds_said(log: str, words: str) -> float:
    """When a log first said something, in seconds since the epoch."""
    line = next(line for line in log.splitlines() if f'"{words}"' in line)
    return seconds_of(line.split()[0])


def seconds_of(stamp: str) -> float:
    """Seconds since the epoch of a moment as Kubernetes writes it, with nanoseconds or without."""
    return (
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stamp).replace("Z", ""))
        .replace(tzinfo=UTC)
        .timestamp()
    )


def result(starts: list[Start]) -> dict[str, Any]:
    """What is kept of a run."""
    fields = ("serving", "prepared", "loaded", "first_item")
    medians = {
        case: {field: median(getattr(one, field) for one in starts if one.case == case) for field in fields}
        for case in CASES
    }
    return {
        "program": "bench/pod_start.py",
        "model": f"{BUNDLED}, {megabytes():.0f} MB, from S3 on the same machine",
        "image": os.environ.get("E2E_IMAGE") or "thin",
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "versions": {name: version(name) for name in ("torch", "diffusers")},
        "medianSeconds": medians,
        "starts": [asdict(start) for start in starts],
    }


def megabytes() -> float:
    """Size of the model."""
    with resources.as_file(resources.files("asyncdiff_runtime") / "bundled" / BUNDLED) as root:
        return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="jobs of each case (default 3)")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help="of a node that `python -m support.node` keeps; default: one of its own",
    )
    parser.add_argument("--json", type=Path, help="file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
