"""What cannot work is refused by the process that checks, before weights are read or ranks are started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import run
from support.jobs import job as document
from typer.testing import Result

if TYPE_CHECKING:
    from support.s3 import S3Server

LIST = {"spec.generate": {"worklist": {"configMap": {"name": "lists", "key": "list.jsonl"}}}}
FOLDER = {"spec.output": {"volume": {"claimName": "renders"}}}


@pytest.fixture(scope="module")
def hollow_models(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with weights that nobody can load: who tried would say so."""
    volume = tmp_path_factory.mktemp("hollow") / "models"
    shutil.copytree(models, volume)
    weights = list(volume.rglob("*.safetensors"))
    assert weights
    for file in weights:
        file.write_bytes(b"no weights")
    return volume


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A worklist of a million lines; the second is wrong."""
    path = tmp_path / "list.jsonl"
    good = json.dumps({"prompt": "a lighthouse"})
    path.write_text("\n".join([good, '{"prompt": "a fox", "stepz": 3}', *[good] * 999_998]))
    return path


def refused(job: dict[str, Any], models: Path, folder: Path, *options: str) -> Result:
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    done = run("run", str(file), "--volume", f"models={models}", *options)
    assert done.stdout == ""
    return done


def job_of(changes: dict[str, Any]) -> dict[str, Any]:
    return document(
        {
            "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
            "spec.parallelism": {"device": "CPU"},
            **changes,
        }
    )


def test_a_bad_line_of_a_long_worklist_is_named(hollow_models: Path, lines: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    done = refused(
        job_of({**FOLDER, **LIST}),
        hollow_models,
        tmp_path,
        *("--worklist", str(lines), "--output", str(output)),
    )
    assert done.exit_code == 65
    assert "has an unknown key stepz; did you mean steps?" in done.stderr
    assert "line 2" in done.stderr
    assert not list(output.glob("items/**/*.png"))


def test_an_unknown_option_is_named(hollow_models: Path, tmp_path: Path) -> None:
    job = job_of({**FOLDER, "spec.generate.options": {"guidance_rescal": 0.7}})
    done = refused(job, hollow_models, tmp_path, "--output", str(tmp_path / "output"))
    assert done.exit_code == 64
    assert "did you mean guidance_rescale?" in done.stderr


def test_a_missing_bucket_is_named(
    hollow_models: Path, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    output = {"s3": {"bucket": "nowhere", "prefix": "posters/", "endpoint": s3_server.endpoint}}
    done = refused(job_of({"spec.output": output}), hollow_models, tmp_path)
    assert done.exit_code == 69
    assert "the bucket nowhere does not exist" in done.stderr
