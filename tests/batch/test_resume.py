"""What some ranks and shards began, others of another number finish: real ranks of a real pipeline."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncdiff_api.formats.layout import FAILED, SUCCESS
from asyncdiff_runtime.storage import FolderStorage
from support.jobs import job as document
from support.prefixes import assert_exactly_once, recorded
from support.processes import ProcessFolder, wait_until

PROMPTS, SEEDS = 6, 10
ITEMS = PROMPTS * SEEDS


@pytest.fixture
def processes() -> Iterator[ProcessFolder]:
    with ProcessFolder.create("resume") as folder:
        yield folder


def test_three_ranks_and_five_shards_finish_what_two_ranks_and_four_shards_began(
    models: Path, tmp_path: Path, processes: ProcessFolder
) -> None:
    job, storage = tmp_path / "job.json", FolderStorage(tmp_path / "output")
    job.write_text(
        json.dumps(
            document(
                {
                    "spec.model": {"volume": {"claimName": "models", "path": "sdxl"}, "dtype": "float32"},
                    "spec.parallelism": {"device": "CPU"},
                    "spec.generate": {
                        "prompts": [f"picture {number}" for number in range(PROMPTS)],
                        "seeds": {"count": SEEDS},
                        "height": 64,
                        "width": 64,
                        "steps": 1,
                    },
                    "spec.output": {"volume": {"claimName": "renders"}},
                }
            )
        )
    )
    argv = [sys.executable, "-m", "asyncdiff_runtime.cli", "run", str(job)]
    places = ["--volume", f"models={models}", "--output", str(tmp_path / "output")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}

    def layout(ranks: int, shards: int) -> list[str]:
        changes = [f"spec.parallelism.gpusPerPod={ranks}", f"spec.parallelism.shards={shards}"]
        return [*argv, *places, *(word for change in changes for word in ("--set", change))]

    processes.start("first", layout(ranks=2, shards=4), environment)
    second_shard = ITEMS // 4 + 2
    wait_until(lambda: len(recorded(storage)) >= second_shard, what="items of the second shard", seconds=300)
    processes.signal("first", signal.SIGINT)  # Ctrl-C, of which the command makes a SIGTERM
    assert processes.wait("first", seconds=120) == 75, processes.log_tail("first")
    begun = {item.id for item in recorded(storage)}
    assert second_shard <= len(begun) < ITEMS
    assert (storage.stat(SUCCESS), storage.stat(FAILED)) == (None, None)
    said = processes.log("first").read_text()
    assert "Ctrl-C once more stops at once" in said
    assert f"Drained: {len(begun)} items done" in said
    assert "The same command makes the rest." in said
    assert "Traceback" not in said

    processes.start("second", layout(ranks=3, shards=5), environment)
    assert processes.wait("second", seconds=500) == 0, processes.log_tail("second")

    assert_exactly_once(storage, blocks=ITEMS, items=ITEMS)
    assert storage.stat(SUCCESS) is not None
    assert f"{ITEMS - len(begun)} made now" in processes.log("second").read_text()
