"""What people get wrong is answered in a sentence that says what to do, and never with a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from asyncdiff_api.validation import load
from asyncdiff_runtime.storage import FolderStorage
from support.command import run
from support.jobs import job as document
from support.painting import Painter, work

JOB = document({"spec.output": {"volume": {"claimName": "renders"}}})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the output of a job in `posters`, a job file, an empty folder and a file of text."""
    work(FolderStorage(tmp_path / "posters"), load(JOB), Painter())
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
    (tmp_path / "misspelt.yaml").write_text(yaml.safe_dump({**JOB, "kind": "AsyncDifJob"}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("explain-image nothing.png", 2, "there is no file nothing.png"),
        ("explain-image empty", 2, "empty is a folder and holds no frames; name a picture or video"),
        ("explain-image posters", 2, "name a picture or video, such as posters/items/0000000/"),
        ("explain-image text.txt", 2, "wanted is a PNG, JPEG, WebP, MP4 or WebM file"),
        ("explain-image s3://renders", 2, "s3://renders is a bucket; name a picture in it"),
        ("status s3://", 64, "names no bucket; write it as s3://BUCKET/PREFIX/"),
        ("status empty", 2, "holds no job.json, so no job has written there"),
        ("status posters/items", 2, "did you mean"),
        ("status text.txt", 69, "text.txt is a file, and a folder is wanted"),
        ("gallery empty", 2, "holds no job.json, so no job has written there"),
        ("gallery posters --output /proc/here", 69, "no folder can be made there"),
        ("run nothing.yaml", 64, "nothing.yaml cannot be read: No such file or directory"),
        ("run misspelt.yaml", 64, "holds 0 documents of kind AsyncDiffJob, and such of kind AsyncDifJob"),
        ("run job.yaml", 64, "choose a folder with --output DIR"),
        ("run job.yaml --output posters --worklist text.txt", 64, "leave it out"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(here: Path, arguments: str, code: int, said: str) -> None:
    done = run(*arguments.split())
    assert done.exit_code == code, done.output
    assert said in done.output


def test_a_misspelt_folder_is_not_only_looked_for_in_a_cluster(here: Path) -> None:
    pytest.importorskip("kubernetes")
    done = run("status", "postrs")
    assert done.exit_code == 64
    assert "'postrs' is no folder here (did you mean posters?), so it names a job in a cluster" in done.output


def test_a_dry_run_leaves_no_trace(here: Path) -> None:
    job = document(
        {"spec.output": {"volume": {"claimName": "renders"}}, "spec.model": {"bundled": "shapes-unet"}}
    )
    (here / "job.json").write_text(json.dumps(job))
    done = run("run", "job.json", "--output", "new", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "1 item in 1 block\n" in done.output
    assert not (here / "new").exists()
