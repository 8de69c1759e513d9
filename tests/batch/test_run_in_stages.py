"""A job whose ranks share each evaluation in stages, from the job file to the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_runtime.storage import FolderStorage
from support.command import run
from support.jobs import job as document
from support.prefixes import recorded


def test_a_jobs_pictures_are_made_in_stages_by_ranks_together(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job, output = tmp_path / "job.yaml", tmp_path / "output"
    changes = {
        "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
        "spec.parallelism": {
            "device": "CPU",
            "gpusPerPod": 2,
            "strategy": "AsyncStages",
            "asyncStages": {"warmupSteps": 2, "weights": "Sharded"},
        },
        "spec.generate": {"prompts": ["a fox", "a boat"], "height": 64, "width": 64, "steps": 5},
        "spec.output": {"volume": {"claimName": "renders"}},
    }
    job.write_text(yaml.safe_dump(document(changes)))

    done = run("run", str(job), "--volume", f"models={models}", "--output", str(output))

    assert done.exit_code == 0, done.stderr
    storage = FolderStorage(output)
    schedule = JobRecord.parse(storage.read("job.json"), "job.json").schedule
    assert (schedule["strategy"], schedule["stages"], schedule["warmupSteps"]) == ("AsyncStages", 2, 2)
    items = recorded(storage)
    assert [item.report and item.report["evaluations"] for item in items] == [5, 5]
