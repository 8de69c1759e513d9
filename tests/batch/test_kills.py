"""Processes that are killed with SIGKILL, and a bucket that goes away: nothing is lost, made or recorded twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.recorder import QUEUED
from asyncdiff_runtime.storage import FolderStorage, Storage, open_storage
from support.jobs import job as document
from support.painting import Painter, work
from support.prefixes import assert_exactly_once
from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server

PROMPTS, SEEDS = 20, 12
ITEMS = PROMPTS * SEEDS
KILLS = int(os.environ.get("ASYNCDIFF_TEST_KILLS", "6"))
IN_HAND = QUEUED + 2
"""Items that a killed process may have made and not uploaded: the queue, and one batch."""


def painting(output: dict[str, object]) -> dict[str, object]:
    return document(
        {
            "spec.generate": {"prompts": [f"picture {n}" for n in range(PROMPTS)], "seeds": {"count": SEEDS}},
            "spec.output": output,
        }
    )


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("batch") as folder:
        yield folder


def start(
    processes: ProcessFolder, name: str, job: Path, output: str, shard: str, env: dict[str, str] | None = None
) -> Path:
    made = processes.path / "made.txt"
    made.touch()
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(env or {})}
    argv = [sys.executable, "-m", "support.painting", str(job), output, *shard.split("/"), str(made)]
    processes.start(name, argv, variables)
    return made


def made_at_least(made: Path, count: int, processes: ProcessFolder, name: str) -> bool:
    return len(made.read_text().splitlines()) >= count or processes.exit_code(name) is not None


def test_kills_at_random_moments_lose_nothing_and_redo_no_more_than_was_in_hand(
    processes: ProcessFolder, tmp_path: Path
) -> None:
    output, job = tmp_path / "output", tmp_path / "job.json"
    job.write_text(json.dumps(painting({"volume": {"claimName": "renders"}})))
    moments = random.Random(5)
    killed = 0
    for attempt in range(KILLS):
        name = f"attempt-{attempt}"
        made = start(processes, name, job, str(output), "0/1")
        before = len(made.read_text().splitlines())
        moment = before + moments.randint(0, max(1, ITEMS // KILLS))
        wait_until(partial(made_at_least, made, moment, processes, name), what="the moment")
        if processes.exit_code(name) is None:
            processes.kill(name)
            killed += 1
    for shard in ("0/3", "1/3", "2/3"):
        start(processes, "last", job, str(output), shard)
        assert processes.wait("last", seconds=120) == 0, processes.log_tail("last")

    storage = FolderStorage(output)
    assert killed >= KILLS // 2
    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)
    assert len(made.read_text().splitlines()) - ITEMS <= IN_HAND * killed


def test_two_processes_on_one_shard_record_nothing_twice_in_a_bucket(
    processes: ProcessFolder,
    tmp_path: Path,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document_, storage = in_bucket(s3_server, bucket, monkeypatch)
    job = tmp_path / "job.json"
    job.write_text(json.dumps(document_))

    for name in ("one", "two"):
        start(processes, name, job, f"s3://{bucket}/posters/", "0/1", s3_server.environment())
    codes = [processes.wait(name, seconds=120) for name in ("one", "two")]

    assert codes == [0, 0], processes.log_tail("one") + processes.log_tail("two")
    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)


def test_a_bucket_that_goes_away_and_comes_back_costs_nothing(
    processes: ProcessFolder,
    tmp_path: Path,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document_, storage = in_bucket(s3_server, bucket, monkeypatch)
    job = tmp_path / "job.json"
    job.write_text(json.dumps(document_))
    made = start(processes, "worker", job, f"s3://{bucket}/posters/", "0/1", s3_server.environment())

    wait_until(lambda: made_at_least(made, 60, processes, "worker"), what="60 items")
    s3_server.kill()
    s3_server.run()

    assert processes.wait("worker", seconds=200) == 0, processes.log_tail("worker")
    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)
    assert len(made.read_text().splitlines()) == ITEMS


def test_a_worker_that_is_stopped_and_replaced_writes_nothing_twice_when_it_goes_on(
    processes: ProcessFolder, tmp_path: Path
) -> None:
    output, job = tmp_path / "output", tmp_path / "job.json"
    text = painting({"volume": {"claimName": "renders"}})
    job.write_text(json.dumps(text))
    made = start(processes, "partitioned", job, str(output), "0/1")
    wait_until(lambda: made_at_least(made, 40, processes, "partitioned"), what="40 items")
    processes.signal("partitioned", signal.SIGSTOP)

    replacement = Painter()
    work(FolderStorage(output), load(text), replacement)
    processes.signal("partitioned", signal.SIGCONT)

    assert processes.wait("partitioned", seconds=120) == 0, processes.log_tail("partitioned")
    assert_exactly_once(FolderStorage(output), blocks=ITEMS, items=ITEMS)


def in_bucket(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, object], Storage]:
    """The job with its output in a bucket, and that output."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    text = painting({"s3": {"bucket": bucket, "prefix": "posters/", "endpoint": server.endpoint}})
    return text, open_storage(f"s3://{bucket}/posters/", load(text).spec.output)
