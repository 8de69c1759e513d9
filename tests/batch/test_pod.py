"""A pod's commands as the operator starts them: what they serve, leave behind, and how they end."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.formats.container import (
    HEALTH_PATH,
    JOB_FILE,
    JOB_FOLDER,
    METRICS_PATH,
    PROGRESS_PATH,
    VOLUMES,
)
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.validation import load
from asyncdiff_runtime.media import read_metadata
from asyncdiff_runtime.storage import FolderStorage, Storage, open_storage
from prometheus_client.parser import text_string_to_metric_families
from support.hub import FakeHub
from support.jobs import job as document
from support.pods import TRACE, Pod, ask, at
from support.prefixes import assert_exactly_once, recorded
from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server

PROMPT = "a fox nobody may read of"
ITEMS = 120
PLAIN = {
    "metadata.namespace": "studio",
    "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
    "spec.parallelism": {"device": "CPU", "gpusPerPod": 2, "shards": 1},
    "spec.generate": {"prompts": [PROMPT], "seeds": {"count": ITEMS}, "height": 64, "width": 64, "steps": 2},
    "spec.output": {"volume": {"claimName": "renders"}},
    "spec.run.drainSeconds": 20,
}


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("pod") as folder:
        yield folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


@pytest.fixture
def hub(models: Path) -> Iterator[FakeHub]:
    with FakeHub.start({"owner/sdxl": models / "sdxl"}) as hub:
        yield hub


def pod_of(
    tmp_path: Path, processes: ProcessFolder, models: Path, changes: dict[str, Any], **variables: str
) -> Pod:
    volumes = {"models": models, "renders": tmp_path / "output"}
    return Pod.of_job(tmp_path / "root", processes, document({**PLAIN, **changes}), volumes, **variables)


def families(pod: Pod, name: str) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of a container's metrics by name and values of labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(pod.get(name, METRICS_PATH).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_a_pod_reports_while_it_works_and_the_finish_step_sums_up(
    models: Path,
    tmp_path: Path,
    output: Path,
    processes: ProcessFolder,
    s3_server: S3Server,
    bucket: str,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    section = {"bucket": bucket, "prefix": "posters/", "endpoint": s3_server.endpoint, "region": "us-east-1"}
    model = {"repository": "owner/sdxl", "dtype": "float32"}
    reached = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    pod = pod_of(
        tmp_path, processes, models, {"spec.output": {"s3": section}, "spec.model": model}, **reached
    )
    pod.mount_keys(s3_server.environment())
    hub.hold, hub.held = threading.Event(), ".safetensors"

    name = pod.start()
    assert json.loads(pod.get(name, HEALTH_PATH)) == {"healthy": True}
    fetching = pod.wait_for_progress(name, lambda seen: seen.download is not None, "the download")
    hub.hold.set()
    progress = pod.wait_for_progress(name, lambda seen: seen.items.done >= 6, "6 items")
    with pod.standing_still(name):
        metrics = families(pod, name)
        served = pod.get(name, PROGRESS_PATH) + pod.get(name, METRICS_PATH)
        assert ask(pod.port(name), "/etc/passwd")[0] == 404
    code, result = pod.end(name)

    assert_fetching(fetching, models / "sdxl")
    assert_progress(progress)
    assert_metrics(metrics)

    assert (code, result.exit_code, result.reason, result.final) == (0, 0, "AllItemsDone", True)
    assert result.items == ItemCounts(total=ITEMS, done=ITEMS)
    assert result.plan is not None
    assert result.plan.data_parallel == 2
    assert result.throughput is not None
    assert result.throughput.items_per_second
    assert result.message.startswith(f"{ITEMS} items made at")

    for name_, value in s3_server.environment().items():
        monkeypatch.setenv(name_, value)
    storage = open_storage(
        f"s3://{bucket}/posters/", load(document({"spec.output": {"s3": section}})).spec.output
    )
    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)
    assert read_metadata(storage.read(str(recorded(storage)[0].key)))["trace"] == TRACE
    lines = pod.logged(name)
    assert all(line["trace"] == TRACE for line in lines)
    assert {line.get("rank") for line in lines} >= {0, 1}
    for public in (served, result.encode(), json.dumps(lines).encode()):
        assert PROMPT.encode() not in public

    hub.private.add("owner/sdxl")  # which nothing is asked of any more
    assert_finished(pod, storage)
    code, result = pod.run()
    assert (code, result.items) == (0, ItemCounts(total=ITEMS, done=ITEMS)), result.message
    assert not any("rank" in line for line in pod.logged(f"pod-{pod.started}")), "no rank was started"


def assert_fetching(progress: Progress, model: Path) -> None:
    weights = sum(path.stat().st_size for path in model.rglob("*.safetensors"))
    assert progress.phase == "Loading"
    assert progress.download is not None
    assert progress.download.total_bytes is not None
    assert 0 < progress.download.received_bytes <= progress.download.total_bytes - weights


def assert_metrics(metrics: Mapping[str, Mapping[tuple[str, ...], float]]) -> None:
    assert metrics["asyncdiff_items_made_total"][()] >= 4
    assert metrics["asyncdiff_item_seconds_count"][()] >= 4
    assert set(metrics["asyncdiff_rank_heartbeat_age_seconds"]) == {("0",), ("1",)}
    assert metrics["asyncdiff_gpu_seconds_total"][("load",)] > 0
    assert metrics["asyncdiff_written_bytes_total"][()] > 0


def assert_progress(progress: Progress) -> None:
    assert (progress.shard, progress.shards, progress.world_size) == (0, 1, 2)
    assert progress.phase in ("Generating", "Waiting")
    assert progress.plan is not None
    assert progress.plan.strategy == "Data"
    assert progress.throughput is not None
    assert progress.throughput.seconds_per_item is not None
    assert progress.throughput.milliseconds_per_step
    assert progress.remaining_seconds is not None
    assert progress.seconds_since_item is not None
    assert [rank.rank for rank in progress.ranks] == [0, 1]
    assert all(rank.heartbeat_age_seconds < 60 for rank in progress.ranks)


def assert_finished(pod: Pod, storage: Storage) -> None:
    """The finish step says the same when it runs again."""
    for _ in range(2):
        code, result = pod.run("finish", shard=None)
        assert (code, result.scope, result.reason, result.items.done) == (0, "Job", "AllItemsDone", ITEMS)
        assert result.output is not None
        assert storage.stat(result.output.manifest) is not None
        assert storage.stat(result.output.gallery) is not None
        assert storage.stat("_SUCCESS") is not None


def test_pods_that_end_early_say_what_is_recorded_and_the_next_goes_on(
    models: Path, tmp_path: Path, output: Path, processes: ProcessFolder
) -> None:
    pod = pod_of(tmp_path, processes, models, {})

    killed = pod.start()
    pod.wait_for_progress(killed, lambda seen: seen.items.done >= 4, "4 items")
    pod.signal_rank(killed, 1, signal.SIGKILL)
    code, first = pod.end(killed)
    assert (code, first.exit_code, first.reason, first.final) == (70, 70, "UnexpectedError", True)
    assert "rank 1 was ended by signal 9" in first.message
    assert 4 <= first.items.done <= len(recorded(FolderStorage(output)))

    drained = pod.start()
    pod.wait_for_progress(drained, lambda seen: seen.items.done >= first.items.done + 4, "4 more items")
    meanwhile = pod.result
    assert meanwhile is not None
    assert (meanwhile.final, meanwhile.exit_code) == (False, None)
    pod.terminate(drained)
    code, second = pod.end(drained)
    assert (code, second.exit_code, second.reason) == (75, 75, "Drained")
    assert first.items.done < second.items.done == len(recorded(FolderStorage(output)))

    code, finished = pod.run("finish", shard=None, ASYNCDIFF_FAILURE="shard 0 was drained too often")
    assert (code, finished.reason, finished.message) == (0, "ShardsFailed", "shard 0 was drained too often")

    code, last = pod.run()
    assert (code, last.items) == (0, ItemCounts(total=ITEMS, done=ITEMS)), last.message
    assert_exactly_once(FolderStorage(output), blocks=ITEMS, items=ITEMS)

    (at(pod.root, VOLUMES) / "models").unlink()
    code, finished = pod.run("finish", shard=None)
    assert (code, finished.reason) == (0, "AllItemsDone"), finished.message
    job = at(pod.root, JOB_FOLDER) / JOB_FILE
    job.write_text(job.read_text().replace(PROMPT, "another job's prompt"))
    code, refused = pod.run("finish", shard=None)
    assert (code, refused.reason) == (64, "AnotherJob"), refused.message
    assert json.loads((output / "manifest.json").read_bytes())["succeeded"] is True


def stop_within_an_item(pod: Pod, name: str, rank: int) -> None:
    """Stops a rank while it has an item in hand: one that is found between two goes on and is stopped again."""

    def stopped() -> bool:
        pod.signal_rank(name, rank, signal.SIGSTOP)
        silent = pod.wait_for_progress(
            name, lambda seen: seen.ranks[rank].heartbeat_age_seconds > 1, "a rank that is silent"
        )
        if silent.ranks[rank].evaluation:
            return True
        pod.signal_rank(name, rank, signal.SIGCONT)
        return False

    wait_until(stopped, what="a stop within an item", seconds=90)


@pytest.mark.parametrize("strategy", ["Data", "Lookahead"])
def test_a_rank_that_stands_still_is_named_with_its_evaluation_and_ended_and_the_next_pod_goes_on(
    models: Path, tmp_path: Path, output: Path, processes: ProcessFolder, strategy: str
) -> None:
    changes = {"spec.parallelism.strategy": strategy, "spec.generate.seeds": {"count": 12}}
    pod = pod_of(tmp_path, processes, models, {**changes, "spec.generate.steps": 20}, WATCHDOG_SECONDS="10")

    name = pod.start()
    pod.wait_for_progress(
        name,
        lambda seen: any(rank.rank == 1 and rank.evaluation for rank in seen.ranks),
        "an evaluation of rank 1",
    )
    stop_within_an_item(pod, name, rank=1)
    code, result = pod.end(name)

    assert (code, result.exit_code, result.reason) == (70, 70, "RankHung"), result.message
    assert re.match(r"rank 1 has not run for \d+ s at evaluation \d+ of 20 of item ", result.message)
    assert result.items.done == len(recorded(FolderStorage(output)))
    code, result = pod.run()
    assert (code, result.items.done) == (0, 12), result.message
    assert_exactly_once(FolderStorage(output), blocks=12, items=12)


@pytest.mark.parametrize(
    ("changes", "shard", "code", "said"),
    [
        ({"spec.generate.steps": 0}, 0, 64, "steps"),
        ({}, None, 64, "JOB_COMPLETION_INDEX is ''"),
        ({}, 3, 64, "the job has the shards 0 to 0"),
        ({"spec.model": {"volume": {"claimName": "lost", "path": "sdxl"}}}, 0, 66, "lost"),
    ],
)
def test_what_cannot_run_is_said_in_the_termination_message(
    models: Path,
    tmp_path: Path,
    output: Path,
    processes: ProcessFolder,
    changes: dict[str, Any],
    shard: int | None,
    code: int,
    said: str,
) -> None:
    found, result = pod_of(tmp_path, processes, models, changes).run(shard=shard)
    assert (found, result.exit_code, result.final) == (code, code, True)
    assert said in result.message
