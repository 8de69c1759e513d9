"""`asyncdiff status` tells from the output alone how far a job is, in a folder and in a real bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_runtime.storage import FolderStorage
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.command import run
from support.ledgers import begin, conclude, flush, record_blocks
from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server


def test_an_unfinished_prefix_shows_counts_and_which_blocks_and_shards_are_open(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    record = begin(storage, 6)
    record_blocks(storage, record, [0, 1], shard=0, failed=[1])
    record_blocks(storage, record, [4], shard=1)
    flush(storage, record, 3, shard=1)

    done = run("status", str(tmp_path))

    assert done.exit_code == 0
    assert "posters  Unfinished" in done.output
    assert "bundled:painting at sha256:0123456789ab" in done.output
    assert "3 of 6 items done, 1 failed" in done.output
    assert "3 of 6 finished; unfinished are 2 to 3, 5; shards 0, 1" in done.output
    assert "an item takes 2 s" in done.output


def test_a_failed_job_says_why_and_what_to_do_and_ends_with_1(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    record = begin(storage, 6)
    record_blocks(storage, record, range(6), failed=[2])
    conclude(storage, record, "TooManyFailedItems", "1 item failed, where 0 are allowed")

    done = run("status", str(tmp_path))

    assert done.exit_code == 1
    assert "TooManyFailedItems: 1 item failed, where 0 are allowed" in done.output
    assert "remedy    Look at rejected/ and at the manifest" in done.output


def test_what_is_recorded_after_the_last_word_makes_it_unfinished_again(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    record = begin(storage, 6)
    record_blocks(storage, record, range(3))
    conclude(storage, record, "ShardsFailed", "3 of 6 blocks are unfinished")
    assert run("status", str(tmp_path)).exit_code == 1

    flush(storage, record, 5)

    assert "posters  Unfinished" in run("status", str(tmp_path)).output


def test_a_bucket_is_read_like_a_folder(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    name = s3_server.bucket()
    storage = S3Storage(name, "posters/", S3Options(endpoint=s3_server.endpoint))
    record = begin(storage, 6)
    record_blocks(storage, record, range(2))

    done = run("status", f"s3://{name}/posters", "--endpoint", s3_server.endpoint, "--json")
    missing = run("status", "s3://no-such-bucket/posters", "--endpoint", s3_server.endpoint)

    found = json.loads(done.output)
    assert (found["state"], found["items"]["done"], found["finishedBlocks"]) == ("Unfinished", 2, 2)
    assert found["gaps"] == [{"first": 2, "last": 5, "shards": [0]}]
    assert (missing.exit_code, "the bucket no-such-bucket does not exist" in missing.output) == (69, True)


def test_watching_ends_with_the_job(tmp_path: Path) -> None:
    output = tmp_path / "output"
    storage = FolderStorage(output)
    record = begin(storage, 6)
    with ProcessFolder.create("watch") as processes:
        argv = [sys.executable, "-m", "asyncdiff_runtime.cli", "status", str(output), "--watch", "--json"]
        processes.start("status", argv, dict(os.environ))
        wait_until(lambda: '"Unfinished"' in processes.log("status").read_text(), what="a first look")
        record_blocks(storage, record, range(6))
        conclude(storage, record, "TooManyFailedItems")
        assert processes.wait("status", seconds=60) == 1
        last = processes.log("status").read_text().splitlines()[-1]
    assert json.loads(last)["state"] == "Failed"


def test_a_folder_without_a_job_names_those_near_it(tmp_path: Path) -> None:
    begin(FolderStorage(tmp_path / "posters"), 1)
    (tmp_path / "posters" / "items").mkdir()
    for near in (tmp_path, tmp_path / "posters" / "items"):
        done = run("status", str(near))
        assert done.exit_code == 2
        assert f"did you mean {tmp_path / 'posters'}?" in done.output


def test_a_word_that_is_no_folder_names_a_job_in_a_cluster(tmp_path: Path) -> None:
    metadata = tmp_path / "elsewhere-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[asyncdiff.commands]\nstatus = elsewhere_status:ask\n")
    (tmp_path / "elsewhere_status.py").write_text(
        "def ask(name, **rest): print(name, sorted(rest.items()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "asyncdiff_runtime.cli", "status", "posters", "-n", "art"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = "posters [('as_json', False), ('context', None), ('namespace', 'art'), ('watch', False)]\n"
    assert (done.stdout, done.stderr) == (wanted, "")
