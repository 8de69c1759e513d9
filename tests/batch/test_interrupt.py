"""Ctrl-C twice while `asyncdiff run` works stops at once; what a single one does is in `test_resume`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.jobs import job as document
from support.processes import ProcessFolder, wait_until

STOP = "Ctrl-C once more stops at once"


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("run") as folder:
        yield folder


def start(processes: ProcessFolder, folder: Path) -> int:
    """Starts a run of the bundled model on one rank and waits until they generate; gives its process."""
    job = {
        "spec.model": {"bundled": "shapes-unet", "dtype": "float32"},
        "spec.generate": {"prompts": ["a red circle"], "seeds": {"count": 50}, "height": 64, "width": 64},
        "spec.generate.steps": 999,
        "spec.parallelism": {"device": "CPU", "gpusPerPod": 1},
        "spec.output": {"volume": {"claimName": "pictures"}},
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(document(job)))
    argv = [
        sys.executable,
        "-m",
        "asyncdiff_runtime.cli",
        "run",
        str(file),
        "--output",
        str(folder / "output"),
    ]
    process = processes.start("run", argv, {**os.environ, "OMP_NUM_THREADS": "1"})
    said(processes, "Generating: 0 of 50 items")
    return process


def said(processes: ProcessFolder, words: str) -> None:
    wait_until(lambda: words in processes.log("run").read_text(), what=words, seconds=200)


def descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children]


def test_twice_stops_at_once_and_leaves_no_rank_behind(processes: ProcessFolder, tmp_path: Path) -> None:
    process = start(processes, tmp_path)
    ranks = descendants(process)
    assert ranks

    processes.signal("run", signal.SIGINT)
    said(processes, STOP)
    processes.signal("run", signal.SIGINT)

    assert processes.wait("run", seconds=60) == 130, processes.log_tail("run")
    wait_until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in ranks), what="the ranks' end")
    assert "Traceback" not in processes.log("run").read_text()
