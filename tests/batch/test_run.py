"""`asyncdiff run` with a real pipeline in real ranks, from the job file to the gallery."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import Completion, Manifest
from asyncdiff_runtime.media import read_metadata
from asyncdiff_runtime.storage import FolderStorage
from support.command import run
from support.jobs import job as document
from support.prefixes import assert_exactly_once, recorded
from support.processes import ProcessFolder, wait_until
from typer.testing import Result


def write_job(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """A job of the tiny model: 6 items on two ranks."""
    plain = {
        "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
        "spec.parallelism": {"device": "CPU", "gpusPerPod": 2},
        "spec.generate": {"prompts": ["a fox", "a boat"], "seeds": {"count": 3}, "height": 64, "width": 64},
        "spec.generate.steps": 2,
        "spec.output": {"volume": {"claimName": "renders"}},
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(document({**plain, **(changes or {})})))
    return file


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the ranks."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("run") as folder:
        yield folder


def command(job: Path, models: Path, output: Path) -> list[str]:
    places = ["--volume", f"models={models}", "--output", str(output)]
    return [sys.executable, "-m", "asyncdiff_runtime.cli", "run", str(job), *places]


def asyncdiff(job: Path, models: Path, output: Path, *more: str) -> Result:
    """Runs the command in this process; its ranks are processes of their own."""
    return run("run", str(job), "--volume", f"models={models}", "--output", str(output), *more)


def test_a_job_runs_from_file_to_gallery_and_again_makes_nothing(models: Path, tmp_path: Path) -> None:
    job, output = write_job(tmp_path), tmp_path / "output"

    first = asyncdiff(job, models, output)
    assert first.exit_code == 0, first.stderr
    assert "6 items done; 6 made now" in first.stdout
    storage = FolderStorage(output)
    assert_exactly_once(storage, blocks=6, items=6)
    manifest = Manifest.parse(storage.read("manifest.json"), "manifest.json")
    assert (manifest.succeeded, manifest.items.done, manifest.items.total) == (True, 6, 6)
    assert Completion.parse(storage.read("_SUCCESS"), "_SUCCESS").succeeded
    assert storage.stat("gallery/index.html") is not None
    again = asyncdiff(job, models, output, "--set", "spec.parallelism.gpusPerPod=1")
    assert "6 items done; 0 made now" in again.stdout, again.stderr


def test_every_picture_carries_the_request_that_makes_it_again(models: Path, tmp_path: Path) -> None:
    job, output = write_job(tmp_path, {"spec.generate.seeds": {"count": 1}}), tmp_path / "output"
    changes = ["--set", "spec.parallelism.strategy=Lookahead", "--set", "spec.generate.steps=8"]

    done = asyncdiff(job, models, output, *changes)

    assert done.exit_code == 0, done.stderr
    storage = FolderStorage(output)
    record = JobRecord.parse(storage.read("job.json"), "job.json")
    assert record.schedule["strategy"] == "Lookahead"
    for item in recorded(storage):
        assert item.key is not None
        assert item.report is not None
        assert item.report["evaluations"] == 8
        metadata = read_metadata(storage.read(item.key))
        assert metadata["id"] == item.id
        request = metadata["request"]
        assert isinstance(request, dict)
        assert (request["prompt"], request["seed"]) == (item.prompt, item.seed)


def test_a_told_run_drains_with_75_and_the_next_makes_the_rest(
    models: Path, tmp_path: Path, processes: ProcessFolder
) -> None:
    job, output = write_job(tmp_path, {"spec.generate.seeds": {"count": 40}}), tmp_path / "output"
    processes.start("run", command(job, models, output), {**os.environ})
    storage = FolderStorage(output)
    wait_until(lambda: len(recorded(storage)) >= 4, what="4 items", seconds=200)

    processes.signal("run", signal.SIGTERM)
    assert processes.wait("run", seconds=120) == 75, processes.log_tail("run")
    before = len(recorded(storage))
    assert 4 <= before < 80
    assert storage.stat("_SUCCESS") is None
    assert storage.stat("_FAILED") is None

    rest = asyncdiff(job, models, output)
    assert f"80 items done; {80 - before} made now" in rest.stdout, rest.stderr
    assert_exactly_once(storage, blocks=80, items=80)


def test_a_killed_rank_is_replaced_within_the_run(
    models: Path, tmp_path: Path, processes: ProcessFolder
) -> None:
    job, output = write_job(tmp_path, {"spec.generate.seeds": {"count": 20}}), tmp_path / "output"
    parent = processes.start("run", command(job, models, output), {**os.environ})
    storage = FolderStorage(output)
    wait_until(lambda: len(recorded(storage)) >= 4, what="4 items", seconds=200)

    os.kill(ranks_of(parent)[-1], signal.SIGKILL)

    assert processes.wait("run", seconds=200) == 0, processes.log_tail("run")
    assert_exactly_once(storage, blocks=40, items=40)
    assert storage.stat("_SUCCESS") is not None


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["spec.generate.options={guidance_rescal: 0.7}"], 64, "did you mean guidance_rescale?"),
        (
            ["spec.generate.frames=8", "spec.output.format=MP4"],
            64,
            "StableDiffusionXLPipeline has no num_frames",
        ),
        (["spec.generate.scheduler={class: EulerScheduler}"], 64, "no scheduler of diffusers"),
        (["spec.parallelism.strategy=Patches"], 64, "choose Auto, Data, Lookahead or AsyncStages"),
        (["spec.model.volume.path=nothing"], 66, "there is no folder"),
        (["spec.model={bundled: nothing}"], 66, "there are shapes-sd3, shapes-unet"),
        (["spec.generate.stepz=3"], 64, "did you mean steps?"),
        (["spec.generate.inputs={image: 's3://a-bucket/b.png'}"], 64, "names the input image"),
    ],
)
def test_what_cannot_run_is_refused_before_ranks_start(
    models: Path, tmp_path: Path, changes: list[str], code: int, said: str
) -> None:
    options = [word for change in changes for word in ("--set", change)]
    done = asyncdiff(write_job(tmp_path), models, tmp_path / "output", *options)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_bad_line_is_named_before_ranks_start(models: Path, tmp_path: Path) -> None:
    lines = tmp_path / "list.jsonl"
    lines.write_text('{"prompt": "a fox"}\n{"prompt": "a dog", "stepz": 3}\n')
    job = write_job(tmp_path, {"spec.generate": {"worklist": {"configMap": {"name": "l", "key": "l.jsonl"}}}})
    done = asyncdiff(job, models, tmp_path / "output", "--worklist", str(lines))
    assert done.exit_code == 65
    assert "line 2 of the worklist: has an unknown key stepz; did you mean steps?" in done.stderr


def test_a_dry_run_says_what_would_be_done_and_makes_nothing(models: Path, tmp_path: Path) -> None:
    done = asyncdiff(write_job(tmp_path), models, tmp_path / "output", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "6 items in 6 blocks" in done.stdout
    assert not (tmp_path / "output").exists(), "not even job.json"


def ranks_of(parent: int) -> list[int]:
    """The processes of a run's ranks."""
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [
        pid
        for pid in children
        if b"asyncdiff_runtime.batch.rank" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
