"""Two live writers of one shard: nothing is recorded twice, nothing is lost, and other jobs are kept out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.loop import OPENED_AHEAD
from asyncdiff_runtime.batch.recorder import QUEUED
from support.painting import Painter, work
from support.prefixes import assert_exactly_once
from support.processes import ProcessFolder
from support.workers import Workers

if TYPE_CHECKING:
    from support.s3 import S3Server

PROMPTS, SEEDS = 20, 12
ITEMS = PROMPTS * SEEDS


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("writers") as folder:
        yield folder


@pytest.fixture
def workers(
    processes: ProcessFolder, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Workers:
    keys = s3_server.environment()
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    return Workers.on_bucket(processes, bucket, s3_server.endpoint, keys, PROMPTS, SEEDS)


def test_two_processes_on_one_shard_record_nothing_twice(workers: Workers) -> None:
    for name in ("one", "two"):
        workers.start(name)
    codes = [workers.finish(name) for name in ("one", "two")]

    assert codes == [0, 0], workers.processes.log_tail("one") + workers.processes.log_tail("two")
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)


def test_processes_on_shards_that_overlap_record_nothing_twice(workers: Workers) -> None:
    shards = ("0/2", "1/2", "1/3")
    for shard in shards:
        workers.start(shard.replace("/", "-"), shard)
    assert [workers.finish(shard.replace("/", "-")) for shard in shards] == [0, 0, 0]
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)


def test_a_worker_that_was_cut_off_and_replaced_remakes_no_more_than_it_had_taken_up(
    processes: ProcessFolder, tmp_path: Path
) -> None:
    workers = Workers.on_folder(processes, tmp_path / "output", PROMPTS, SEEDS)
    workers.start("cut-off")
    assert workers.reach("cut-off", 40)
    processes.signal("cut-off", signal.SIGSTOP)

    replacement = Painter()
    work(workers.storage, load(workers.job), replacement)
    processes.signal("cut-off", signal.SIGCONT)

    assert workers.finish("cut-off") == 0, processes.log_tail("cut-off")
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)
    batch = 2
    again = len(workers.made) + len(replacement.made) - ITEMS
    assert again <= QUEUED + OPENED_AHEAD + 2 * batch


def test_another_job_on_the_prefix_is_refused_by_the_name_of_the_field(workers: Workers) -> None:
    workers.start("first")
    assert workers.reach("first", 5)
    workers.job["spec"]["generate"]["steps"] = 31

    assert workers.run(name="second") == 64
    assert "spec.generate.steps is null there and 31 here" in workers.processes.log_tail("second")
    assert workers.finish("first") == 0
    workers.job["spec"]["generate"].pop("steps")
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)
