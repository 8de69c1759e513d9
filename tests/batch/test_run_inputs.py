"""`asyncdiff run` with what starts from pictures and what makes videos, in real ranks, out of a real bucket."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
import yaml
from asyncdiff_api.formats.manifest import Manifest, Outcome
from asyncdiff_runtime.media import read_metadata
from asyncdiff_runtime.storage import FolderStorage
from PIL import Image
from support import command
from support.jobs import job as document
from support.models import in_volume
from support.prefixes import recorded
from typer.testing import Result

if TYPE_CHECKING:
    from support.s3 import S3Server

Run = Callable[..., Result]


@pytest.fixture
def pictures(s3_server: S3Server, bucket: str) -> dict[str, str]:
    """Addresses of a red picture, a blue one, and one that is not there."""
    for name in ("red", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (48, 32), name).save(file, "PNG")
        s3_server.client().put_object(Bucket=bucket, Key=f"{name}.png", Body=file.getvalue())
    return {name: f"s3://{bucket}/{name}.png" for name in ("red", "blue", "missing")}


@pytest.fixture
def run(every_model: Path, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a job on lines of a worklist, into the folder `output` of the test."""
    for name, value in {**s3_server.environment(), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)

    def run(lines: list[dict[str, Any]], changes: dict[str, Any]) -> Result:
        (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        plain = {
            "spec.parallelism": {"device": "CPU"},
            "spec.generate": {
                "worklist": {"configMap": {"name": "list", "key": "list.jsonl"}},
                "steps": 2,
                "height": 32,
                "width": 32,
            },
            "spec.output.s3.endpoint": s3_server.endpoint,
        }
        job = tmp_path / "job.yaml"
        job.write_text(yaml.safe_dump(document({**plain, **changes})))
        places = ["--volume", f"models={every_model}", "--worklist", str(tmp_path / "list.jsonl")]
        return command.run("run", str(job), *places, "--output", str(tmp_path / "output"))

    return run


def rate_and_frames(data: bytes) -> tuple[float, int]:
    """Frames per second of a video, and how many frames it decodes to."""
    with av.open(io.BytesIO(data), mode="r") as video:
        rate = video.streams.video[0].average_rate
        return float(rate or 0), len(list(video.decode(video=0)))


def test_pictures_become_videos_and_one_that_is_not_there_is_recorded_as_failed(
    run: Run, pictures: dict[str, str], tmp_path: Path
) -> None:
    changes = {
        "spec.model": {"dtype": "float32", **in_volume("svd")},
        "spec.generate.frames": 3,
        "spec.generate.fps": 4,
        "spec.output.format": "MP4",
        "spec.acceptance": {"maxFailedItems": 1},
    }
    lines = [{"image": address, "labels": {"name": name}} for name, address in pictures.items()]

    done = run(lines, changes)

    assert done.exit_code == 0, done.stderr
    storage = FolderStorage(tmp_path / "output")
    manifest = Manifest.parse(storage.read("manifest.json"), "manifest.json")
    assert (manifest.items.done, manifest.items.failed) == (2, 1)
    failed = [record for record in recorded(storage) if record.outcome is Outcome.FAILED]
    assert [record.reason for record in failed] == ["InputRefused"]
    assert f"{pictures['missing']} does not exist" in (failed[0].message or "")
    for record in recorded(storage):
        if record.outcome is not Outcome.ACCEPTED:
            continue
        assert record.key is not None
        data = storage.read(record.key)
        assert rate_and_frames(data) == (4, 3)
        request = read_metadata(data)["request"]
        assert isinstance(request, dict)
        assert request["inputs"]["image"].startswith("etag:")
    again = run(lines, changes)
    assert "0 made now" in again.stdout, again.stderr


@pytest.mark.parametrize("form", ["WebM", "Frames"])
def test_a_motion_adapter_makes_videos_of_either_form(run: Run, tmp_path: Path, form: str) -> None:
    adapter = {"kind": "MotionAdapter", **in_volume("motion")}
    changes = {
        "spec.model": {"dtype": "float32", **in_volume("sd15"), "adapters": [adapter]},
        "spec.generate.frames": 3,
        "spec.output.format": form,
    }
    done = run([{"prompt": "a fox runs"}], changes)
    assert done.exit_code == 0, done.stderr
    storage = FolderStorage(tmp_path / "output")
    (record,) = recorded(storage)
    assert (record.outcome, record.frames) == (Outcome.ACCEPTED, 3)
    assert record.key is not None
    if form == "WebM":
        data = storage.read(record.key)
        assert read_metadata(data)["id"] == record.id
        assert rate_and_frames(data) == (8, 3)
        return
    frames = [storage.read(found.key) for found in storage.list(record.key)]
    assert [Image.open(io.BytesIO(frame)).size for frame in frames] == [(32, 32)] * 3
    assert read_metadata(frames[0])["id"] == record.id


def test_a_team_of_ranks_starts_from_the_same_pictures_with_a_lora(
    run: Run, pictures: dict[str, str], tmp_path: Path
) -> None:
    changes = {
        "spec.model": {
            "dtype": "float32",
            "pipeline": "StableDiffusionImg2ImgPipeline",
            "adapters": [{"kind": "LoRA", **in_volume("lora"), "weight": 0.3}],
            **in_volume("sd15"),
        },
        "spec.parallelism": {"device": "CPU", "gpusPerPod": 2, "strategy": "Lookahead"},
        "spec.generate.steps": 8,
        "spec.acceptance": {"maxFailedItems": 1},
    }
    done = run([{"prompt": "a fox", "image": address} for address in pictures.values()], changes)
    assert done.exit_code == 0, done.stderr
    records = recorded(FolderStorage(tmp_path / "output"))
    made = [record for record in records if record.outcome is Outcome.ACCEPTED]
    assert (len(records), len(made)) == (3, 2)
    assert all(record.report is not None for record in made)
    assert len({record.sha256 for record in made}) == 2
