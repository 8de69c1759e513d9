"""Processes that work off shards of one job with `support.painting`, to be killed, stopped and counted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncdiff_api.validation import load
from asyncdiff_runtime.storage import Storage, open_storage

from support.jobs import job as document
from support.processes import ProcessFolder, wait_until

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Workers:
    """One job, and processes that work on it.

    Attributes:
        processes: their folder.
        output: a folder, or an `s3://` address.
        job: the job's document.
        environment: variables beside this process's own.
    """

    processes: ProcessFolder
    output: str
    job: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def on_folder(cls, processes: ProcessFolder, output: Path, prompts: int, seeds: int) -> Workers:
        """Workers that write into a folder."""
        return cls(processes, str(output), _job({"volume": {"claimName": "renders"}}, prompts, seeds))

    @classmethod
    def on_bucket(
        cls,
        processes: ProcessFolder,
        bucket: str,
        endpoint: str,
        environment: Mapping[str, str],
        prompts: int,
        seeds: int,
    ) -> Workers:
        """Workers that write into a bucket at an endpoint."""
        output = {"s3": {"bucket": bucket, "prefix": "posters/", "endpoint": endpoint}}
        return cls(processes, f"s3://{bucket}/posters/", _job(output, prompts, seeds), environment)

    @property
    def storage(self) -> Storage:
        """The output as this process sees it; for a bucket, its keys must be in the environment."""
        return open_storage(self.output, load(self.job).spec.output)

    @property
    def made(self) -> list[str]:
        """The id of each item that was made, as often as it was."""
        file = self._made_file
        return file.read_text().split() if file.exists() else []

    def argv(self, shard: str = "0/1") -> list[str]:
        """The command that works off a shard, such as "1/3"."""
        job = self.processes.path / "job.json"
        job.write_text(json.dumps(self.job))
        program = [sys.executable, "-m", "support.painting"]
        return [*program, str(job), self.output, *shard.split("/"), str(self._made_file)]

    def variables(self) -> dict[str, str]:
        """The whole environment of a worker."""
        return {**os.environ, "PYTHONPATH": str(TESTS), **self.environment}

    def start(self, name: str, shard: str = "0/1") -> None:
        """Starts a worker."""
        self.processes.start(name, self.argv(shard), self.variables())

    def reach(self, name: str, count: int) -> bool:
        """Waits until so many items were made; gives whether the worker still runs."""
        wait_until(
            lambda: len(self.made) >= count or self.processes.exit_code(name) is not None,
            what=f"{count} items",
        )
        return self.processes.exit_code(name) is None

    def finish(self, name: str) -> int:
        """Waits until a worker has ended; gives its exit code."""
        return self.processes.wait(name, seconds=240)

    def run(self, shard: str = "0/1", name: str = "run") -> int:
        """Starts a worker and waits until it has ended; gives its exit code."""
        self.start(name, shard)
        return self.finish(name)

    @property
    def _made_file(self) -> Path:
        return self.processes.path / "made.txt"


def _job(output: dict[str, Any], prompts: int, seeds: int) -> dict[str, Any]:
    generate = {"prompts": [f"picture {n}" for n in range(prompts)], "seeds": {"count": seeds}}
    return document({"spec.generate": generate, "spec.output": output})
