"""Processes and servers that are killed with SIGKILL: nothing is lost, made or recorded twice.

`ASYNCDIFF_TEST_KILLS` says how many kills there are; the default keeps the tests short.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.formats.layout import SUCCESS
from asyncdiff_api.formats.manifest import Manifest
from asyncdiff_runtime.batch.recorder import QUEUED
from asyncdiff_runtime.storage import Storage, open_storage
from support.jobs import job as document
from support.prefixes import assert_exactly_once
from support.processes import ProcessFolder, wait_until
from support.proxy import Proxy
from support.workers import Workers

if TYPE_CHECKING:
    from support.s3 import S3Server

PROMPTS, SEEDS = 20, 10
ITEMS = PROMPTS * SEEDS
KILLS = int(os.environ.get("ASYNCDIFF_TEST_KILLS", "6"))
IN_HAND = QUEUED + 2
"""Items that a killed process may have made and not uploaded: the queue, and one batch."""
RANKS, BATCH = 2, 2
KILLED_RUNS = KILLS // 2


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("kills") as folder:
        yield folder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], dict[str, str]]:
    """Puts a server's keys into this process's environment, and gives them for others'."""

    def put(server: S3Server) -> dict[str, str]:
        keys = server.environment()
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        return keys

    return put


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_kills_at_random_moments_lose_nothing_and_redo_no_more_than_was_in_hand(
    processes: ProcessFolder,
    tmp_path: Path,
    place: str,
    request: pytest.FixtureRequest,
    environment: Callable[[S3Server], dict[str, str]],
) -> None:
    if place == "bucket":
        server: S3Server = request.getfixturevalue("s3_server")
        keys = environment(server)
        workers = Workers.on_bucket(processes, server.bucket(), server.endpoint, keys, PROMPTS, SEEDS)
    else:
        workers = Workers.on_folder(processes, tmp_path / "output", PROMPTS, SEEDS)
    moments, killed = random.Random(5), 0
    for attempt in range(KILLS):
        name, before = f"attempt-{attempt}", len(workers.made)
        workers.start(name)
        if workers.reach(name, before + moments.randint(0, max(1, ITEMS // KILLS))):
            processes.kill(name)
            killed += 1
    for shard in ("0/3", "1/3", "2/3"):
        assert workers.run(shard) == 0, processes.log_tail("run")

    assert killed >= KILLS // 2
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)
    again = len(workers.made) - ITEMS
    print(f"{killed} processes killed, {again} items made again")
    assert again <= IN_HAND * killed


def test_a_bucket_that_goes_away_and_comes_back_costs_nothing(
    processes: ProcessFolder,
    new_s3_server: Callable[[], S3Server],
    environment: Callable[[S3Server], dict[str, str]],
) -> None:
    server = new_s3_server()
    keys = environment(server)
    workers = Workers.on_bucket(processes, server.bucket(), server.endpoint, keys, PROMPTS, SEEDS)
    moments, killed = random.Random(6), 0
    workers.start("worker")
    for _ in range(max(1, KILLS // 3)):
        if workers.reach("worker", len(workers.made) + moments.randint(1, max(1, 3 * ITEMS // KILLS // 2))):
            server.kill()
            server.run()
            killed += 1

    assert workers.finish("worker") == 0, processes.log_tail("worker")
    assert_exactly_once(workers.storage, blocks=ITEMS, items=ITEMS)
    print(f"the server was killed {killed} times, {len(workers.made) - ITEMS} items made again")
    assert len(workers.made) == ITEMS


def test_kills_of_ranks_of_their_parent_and_of_the_server_leave_every_item_once(
    processes: ProcessFolder,
    models: Path,
    tmp_path: Path,
    new_s3_server: Callable[[], S3Server],
    environment: Callable[[S3Server], dict[str, str]],
) -> None:
    server, chance = new_s3_server(), random.Random(9)
    keys, bucket = environment(server), server.bucket()
    with Proxy.http(server.port) as proxy:
        run = Run(processes, models, tmp_path, bucket, proxy, keys)
        kinds = [("rank", "parent", "server")[number % 3] for number in range(KILLED_RUNS)]
        chance.shuffle(kinds)
        killed: Counter[str] = Counter()
        run.start()
        for number, kind in enumerate(kinds):
            left = len(kinds) - number + 1
            run.reach(run.created + chance.randint(1, max(1, (ITEMS - run.created) // left)))
            if kind == "server":
                server.kill()
                server.run()
            elif kind == "rank":
                os.kill(chance.choice(run.ranks), signal.SIGKILL)
            else:
                run.kill_parent()
            killed[kind] += 1
        run.finish()
        storage = open_storage(f"s3://{bucket}/posters/")
        assert_the_job_is_whole(storage)
        uploads = [
            one for one in proxy.exchanges if one.request.method == "PUT" and "/items/" in one.request.target
        ]
        words = [
            one for one in proxy.exchanges if one.request.method == "PUT" and SUCCESS in one.request.target
        ]
    again = len(uploads) - ITEMS
    print(
        f"killed {dict(killed)} in {run.started} runs; {again} of {len(uploads)} uploads were not the first"
    )
    assert [one.status for one in uploads].count(200) <= ITEMS + killed["server"] * RANKS * QUEUED
    assert again <= IN_HAND * RANKS * sum(killed.values())
    assert [one.status for one in words] == [200]


def assert_the_job_is_whole(storage: Storage) -> None:
    """Ledger, manifest and objects agree, and the last word is that the job succeeded."""
    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)
    manifest = Manifest.parse(storage.read("manifest.json"), "manifest.json")
    assert (manifest.succeeded, manifest.items.done, manifest.items.total) == (True, ITEMS, ITEMS)
    assert len(storage.read("manifest.jsonl").splitlines()) == ITEMS
    assert storage.stat(SUCCESS) is not None


class Run:
    """`asyncdiff run` of a tiny pipeline on two ranks, started again whenever it has ended early."""

    def __init__(
        self,
        processes: ProcessFolder,
        models: Path,
        folder: Path,
        bucket: str,
        proxy: Proxy,
        keys: dict[str, str],
    ) -> None:
        self._processes, self._proxy = processes, proxy
        self._job = folder / "job.yaml"
        self._job.write_text(json.dumps(_job(bucket, proxy.endpoint)))
        program = [sys.executable, "-m", "asyncdiff_runtime.cli", "run", str(self._job)]
        self._argv = [*program, "--volume", f"models={models}"]
        # What a killed parent leaves in the folder for temporary files goes with the test's own.
        self._env = {**os.environ, **keys, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
        self.started = 0

    @property
    def created(self) -> int:
        """Items whose object was created."""
        done = [one.request for one in self._proxy.exchanges if one.status == 200]
        return len({one.target for one in done if one.method == "PUT" and "/items/" in one.target})

    @property
    def ranks(self) -> list[int]:
        """The processes of the ranks, once they are all there."""
        parent = self._processes.pid(self._name)
        return wait_until(
            lambda: found if len(found := ranks_of(parent)) == RANKS else None, what="ranks", seconds=240
        )

    def start(self) -> None:
        """Starts it."""
        self.started += 1
        self._processes.start(self._name, self._argv, self._env)

    def reach(self, created: int) -> None:
        """Waits until so many items have their object; starts it again where it ends before."""
        while not self._wait(lambda: self.created >= created):
            self.start()

    def kill_parent(self) -> None:
        """Kills the launching process, sees the ranks end by themselves, and starts it again."""
        ranks = self.ranks
        os.kill(self._processes.pid(self._name), signal.SIGKILL)
        wait_until(lambda: not any(map(is_rank, ranks)), what="the ranks' own end", seconds=240)
        self._processes.wait(self._name)
        self.start()

    def finish(self) -> None:
        """Lets it come to its end."""
        while self._processes.wait(self._name, seconds=400) != 0:
            assert self.started < KILLED_RUNS + 4, self._processes.log_tail(self._name)
            self.start()

    @property
    def _name(self) -> str:
        return f"run-{self.started}"

    def _wait(self, state: Callable[[], bool]) -> bool:
        """Waits for a state; gives whether it came before the run's end."""
        wait_until(
            lambda: state() or self._processes.exit_code(self._name) is not None, what="items", seconds=400
        )
        return state() or self._processes.exit_code(self._name) == 0


def _job(bucket: str, endpoint: str) -> dict[str, Any]:
    return document(
        {
            "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
            "spec.parallelism": {"device": "CPU", "gpusPerPod": RANKS, "batchSize": BATCH},
            "spec.generate": {
                "prompts": [f"picture {number}" for number in range(PROMPTS)],
                "seeds": {"count": SEEDS},
                "height": 64,
                "width": 64,
                "steps": 1,
            },
            "spec.output": {"s3": {"bucket": bucket, "prefix": "posters/", "endpoint": endpoint}},
        }
    )


def ranks_of(parent: int) -> list[int]:
    """The processes of a run's ranks."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return []
    return [int(pid) for pid in children if is_rank(int(pid))]


def is_rank(pid: int) -> bool:
    """Whether a process is a rank that has not ended."""
    try:
        return b"asyncdiff_runtime.batch.rank" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
