"""A job from its creation to pictures in a bucket: real operator, real API server, real runtime on CPU, no root.

What a node and a container add is tested by tests/e2e; this runs wherever the other tests do.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.formats.layout import GALLERY_INDEX, MANIFEST
from asyncdiff_runtime.batch.record import read_record
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.cluster import Cluster, reference
from support.kubelet import Kubelet, Machine, Run, Script, Start, Terminate
from support.operator import Nursery, operator_on
from support.operator.jobs import await_phase, status
from support.prefixes import assert_exactly_once, recorded
from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server

pytest.importorskip("torch")

KEYS = "renders-s3"
ITEMS, SHARDS = 8, 2


@pytest.fixture
def machine() -> Iterator[Machine]:
    with ProcessFolder.create("pods") as processes:
        yield Machine(processes, variables={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})


def job(namespace: str, bucket: str, endpoint: str) -> dict[str, Any]:
    prompts = ["a red circle left of a blue square", "a green star above a pink heart"]
    spec = {
        "model": {"bundled": "shapes-unet", "dtype": "float32"},
        "generate": {"prompts": prompts, "seeds": {"count": ITEMS // len(prompts)}, "steps": 6},
        "parallelism": {"gpusPerPod": 1, "pods": 1, "shards": SHARDS, "device": "CPU", "compile": "Never"},
        "output": {
            "s3": {"bucket": bucket, "prefix": "shapes/", "endpoint": endpoint, "credentialsSecret": KEYS}
        },
        "run": {"drainSeconds": 20},
    }
    return {**reference("asyncdiff.dev/v1alpha1", "AsyncDiffJob", "shapes", namespace), "spec": spec}


def add_keys(plane: Cluster, namespace: str, server: S3Server) -> None:
    keys = {"AWS_ACCESS_KEY_ID": server.root.access_key, "AWS_SECRET_ACCESS_KEY": server.root.secret_key}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
    plane.api.create({**reference("v1", "Secret", KEYS, namespace), "data": encoded})


def test_a_job_whose_pod_is_deleted_midway_still_makes_every_picture_once(
    plane: Cluster,
    nodes: Kubelet,
    nursery: Nursery,
    machine: Machine,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace = plane.namespace()
    add_keys(plane, namespace, s3_server)
    nodes.behave(namespace, lambda _: Script((Start(), Run(machine)), on_termination=(Terminate(),)))
    monkeypatch.setattr(os, "environ", {**os.environ, **s3_server.environment()})
    output = S3Storage(bucket, "shapes/", S3Options())
    pods = reference("v1", "Pod", namespace=namespace)

    with operator_on(nursery, plane, namespace):
        stored = plane.api.create(job(namespace, bucket, s3_server.endpoint))
        wait_until(
            lambda: (status(plane.api, stored).get("items") or {}).get("done"),
            what="the status to count a picture, from a pod's report",
            seconds=300,
            pause=0.1,
        )
        for pod in plane.api.items(pods):
            plane.api.delete({"apiVersion": "v1", "kind": "Pod", **pod})
        ended = await_phase(plane.api, stored, "Complete", "Failed", seconds=400)

    assert ended["phase"] == "Complete", ended["conditions"]
    assert ended["items"]["done"] == ended["items"]["total"] == ITEMS
    assert ended["shards"]["succeeded"] == SHARDS
    assert len(recorded(output)) == ITEMS
    assert output.read(MANIFEST)
    assert output.read(GALLERY_INDEX)
    record = read_record(output)
    assert record is not None
    assert_exactly_once(output, record.blocks.count, ITEMS)
