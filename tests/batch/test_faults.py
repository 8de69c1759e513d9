"""Runs whose storage fails midway: they get over it, or end with one sentence and the right exit code.

Whatever the end was, nothing half-written is counted, and a resume after the fault makes the rest alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from asyncdiff_runtime.batch.recorder import QUEUED
from asyncdiff_runtime.storage import FolderStorage
from support.prefixes import assert_exactly_once
from support.processes import ProcessFolder, wait_until
from support.proxy import (
    Answer,
    CutUpload,
    Fault,
    GarbleAnswer,
    GarbleUpload,
    Hang,
    LoseAnswer,
    Pace,
    Proxy,
    Truncate,
    asks,
)
from support.s3 import S3Server
from support.workers import Workers

PROMPTS, SEEDS = 16, 10
ITEMS = PROMPTS * SEEDS
IN_HAND = QUEUED + 2


@dataclass(frozen=True)
class Line:
    """Workers behind a proxy to a bucket."""

    server: S3Server
    bucket: str
    proxy: Proxy
    workers: Workers


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("faults") as folder:
        yield folder


@pytest.fixture
def line(
    processes: ProcessFolder, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    keys = s3_server.environment()
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    with Proxy.http(s3_server.port) as proxy:
        workers = Workers.on_bucket(processes, bucket, proxy.endpoint, keys, PROMPTS, SEEDS)
        yield Line(s3_server, bucket, proxy, workers)


def test_faults_of_every_kind_in_one_run_cost_nothing(line: Line) -> None:
    faults: list[tuple[Fault, str]] = [
        (Answer(500), "PUT|GET"),
        (Answer(503, "SlowDown"), "PUT|GET|DELETE"),
        (LoseAnswer(), "PUT"),
        (CutUpload(after_bytes=100), "PUT"),
        (GarbleUpload(), "PUT"),
        (Truncate(20), "GET"),
        (GarbleAnswer(), "GET"),
        (Pace(bytes_per_second=20_000, delay_seconds=0.05), "PUT"),
    ]
    for number, (fault, methods) in enumerate(faults):
        for skip in (0, 30, 60):
            line.proxy.inject(fault, where=asks(methods), skip=skip + 3 * number, times=2)

    assert line.workers.run() == 0, line.workers.processes.log_tail("run")

    assert_exactly_once(line.workers.storage, blocks=ITEMS, items=ITEMS)
    assert len(line.workers.made) == ITEMS


def test_keys_that_expire_midway_are_renewed_and_nothing_is_made_again(line: Line) -> None:
    line.workers.start("run")
    assert line.workers.reach("run", 30)
    expired = line.proxy.inject(Answer(400, "ExpiredToken"))
    wait_until(lambda: expired.hits > 20, what="refusals")
    expired.lift()

    assert line.workers.finish("run") == 0, line.workers.processes.log_tail("run")
    assert_exactly_once(line.workers.storage, blocks=ITEMS, items=ITEMS)
    assert len(line.workers.made) == ITEMS


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Answer(403, "AccessDenied"), 69, "OutputRefused.*may not be used"),
        (Answer(507, "InsufficientStorage"), 74, "Outage.*the store has no room"),
    ],
    ids=str,
)
@pytest.mark.parametrize("key", ["/items/", "/manifest/"])
def test_a_fault_that_stays_ends_the_run_and_a_resume_makes_the_rest(
    line: Line, fault: Fault, code: int, said: str, key: str
) -> None:
    line.proxy.inject(fault, where=asks("PUT", key), skip=40)

    assert line.workers.run() == code
    tail = line.workers.processes.log_tail("run")
    assert re.search(said, tail), tail
    assert "Traceback" not in tail
    line.proxy.clear()
    assert line.workers.run("0/1", "resumed") == 0, line.workers.processes.log_tail("resumed")

    assert_exactly_once(line.workers.storage, blocks=ITEMS, items=ITEMS)
    assert len(line.workers.made) - ITEMS <= IN_HAND


def test_a_bucket_that_is_deleted_midway_is_named(line: Line) -> None:
    held = line.proxy.inject(Hang(), where=asks("PUT", "/items/"), skip=30)
    line.workers.start("run")
    assert line.workers.reach("run", 30)
    _delete(line.server, line.bucket)
    held.lift()

    assert line.workers.finish("run") == 69
    assert f"the bucket {line.bucket} does not exist" in line.workers.processes.log_tail("run")
    line.server.client().create_bucket(Bucket=line.bucket)
    assert line.workers.run("0/1", "anew") == 0, line.workers.processes.log_tail("anew")
    assert_exactly_once(line.workers.storage, blocks=ITEMS, items=ITEMS)


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(processes: ProcessFolder, tmp_path: Path) -> None:
    _skip_without_mounts()
    disk, saved = processes.path / "disk", tmp_path / "saved"
    disk.mkdir()
    workers = Workers.on_folder(processes, disk / "output", PROMPTS, SEEDS)
    # A disk of its own, which is there as long as the shell is; the third line makes room on it.
    script = f"""
        mount -t tmpfs -o size=400k tmpfs {disk} || exit 99
        "$@"; echo "code $?"
        find {disk} -name '.asyncdiff-unfinished-*' -size +0 | wc -l | sed 's/^/left /'
        mount -o remount,size=64m {disk} || exit 99
        "$@"; echo "code $?"
        cp -r {disk}/output {saved}
    """
    argv = ["unshare", "--mount", "bash", "-c", script, "bash", *workers.argv()]
    processes.start("disk", argv, workers.variables())

    assert processes.wait("disk", seconds=240) == 0, processes.log_tail("disk")
    log = processes.log("disk").read_text()
    assert [line for line in log.splitlines() if line.startswith(("code", "left"))] == [
        "code 74",
        "left 0",
        "code 0",
    ], log
    assert "No space left on device" in log
    assert_exactly_once(FolderStorage(saved), blocks=ITEMS, items=ITEMS)
    assert len(workers.made) - ITEMS <= IN_HAND


def test_a_bucket_without_room_ends_the_run_and_room_lets_it_go_on(
    processes: ProcessFolder, new_s3_server: Callable[[], S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _skip_without_mounts()
    server = _on_small_disk(new_s3_server())
    keys = server.environment()
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    workers = Workers.on_bucket(processes, server.bucket(), server.endpoint, keys, PROMPTS, SEEDS)

    assert workers.run() == 74
    assert "the store has no room (InsufficientStorage)" in processes.log_tail("run")
    begun = len(workers.made)
    assert begun < ITEMS
    _make_room(server)
    assert workers.run("0/1", "resumed") == 0, processes.log_tail("resumed")

    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)
    assert len(workers.made) - ITEMS <= IN_HAND


def _on_small_disk(server: S3Server) -> S3Server:
    """Starts a server anew, with its data on a disk of its own that fills up soon."""
    server.kill()
    program = server.processes.path / "versitygw-on-a-small-disk"
    data = server.processes.path / "data"
    script = f'mount -t tmpfs -o size=600k tmpfs {data} && exec "$0" "$@"'
    program.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{script}' {server.binary} \"$@\"\n")
    program.chmod(0o700)
    small = replace(server, binary=program)
    small.run()
    return small


def _make_room(server: S3Server) -> None:
    pid, data = server.processes.pid("versitygw"), server.processes.path / "data"
    argv = ["nsenter", f"--target={pid}", "--mount", "mount", "-o", "remount,size=64m", str(data)]
    subprocess.run(argv, check=True)


def _delete(server: S3Server, bucket: str) -> None:
    """Deletes a bucket in use: it has to be empty for a moment."""
    client = server.client()

    def gone() -> bool:
        shutil.rmtree(server.processes.path / "data" / bucket, ignore_errors=True)
        return bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}

    wait_until(gone, what="the bucket's end")


def _skip_without_mounts() -> None:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk that fills up needs the right to mount one")
