"""What a pod finds around it: the contract's paths under a root, and the variables of its processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from asyncdiff_api.formats import container
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.shards import shards_of
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load

from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.storage.credentials import FOLDER_VARIABLE

ROOT_VARIABLE: Final = "ASYNCDIFF_ROOT"
"""Folder that stands for the file system's root, to run a pod's commands without a pod."""

_CACHES: Final = {
    "HF_HOME": "huggingface",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "XDG_CACHE_HOME": "other",
}
"""Folder of the cache that each library is pointed to, by its variable."""


_QUIET: Final = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}
"""Libraries that would call home, or write lines of their own among the log's."""


@dataclass(frozen=True)
class Mounts:
    """A pod's surroundings."""

    root: Path
    environment: Mapping[str, str]

    @classmethod
    def of_process(cls) -> Mounts:
        """Gives those of this process."""
        return cls(Path(os.environ.get(ROOT_VARIABLE, "/")), dict(os.environ))

    @property
    def termination_log(self) -> Path:
        """The file that takes the result."""
        return self._at(container.TERMINATION_LOG)

    @property
    def shard(self) -> int:
        """Number of the shard.

        Raises:
            InvalidJobError: The variable that Kubernetes sets in the pods of an Indexed Job is missing.
        """
        text = self.environment.get(container.SHARD_VARIABLE, "")
        if not text.isdecimal():
            raise InvalidJobError(
                f"the variable {container.SHARD_VARIABLE} is {text!r} and should be the shard's number: run this in "
                "a pod of an Indexed Job, or set it"
            )
        return int(text)

    @property
    def trace(self) -> str:
        """The trace id; empty where there is none."""
        return self.environment.get(container.TRACE_VARIABLE, "")

    @property
    def pod(self) -> str:
        """The pod's name, for logs."""
        return self.environment.get(container.POD_VARIABLE, "")

    @property
    def failure(self) -> str:
        """Why the shards did not all succeed; empty if they did."""
        return self.environment.get(container.FAILURE_VARIABLE, "")

    @property
    def places(self) -> Places:
        """Where the job's parts lie: its mounted volumes and worklist."""
        volumes, worklist = self._at(container.VOLUMES), self._at(container.WORKLIST_FOLDER)
        file = worklist / container.WORKLIST_FILE
        folders = {path.name: path for path in volumes.iterdir()} if volumes.is_dir() else {}
        return Places(volumes=folders, worklist=file if file.is_file() else None)

    def job(self) -> AsyncDiffJob:
        """Reads the job.

        Raises:
            InvalidJobError: There is no such file, it is not JSON, or not a valid job.
        """
        path = self._at(container.JOB_FOLDER) / container.JOB_FILE
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InvalidJobError(
                f"the job cannot be read from {path} ({error}); the operator mounts it there from a ConfigMap"
            ) from error
        return load(document)

    def variables(self) -> dict[str, str]:
        """Gives the variables that this process and its children need and that nobody has set yet."""
        cache = self._at(container.CACHE)
        wanted = {name: str(cache / folder) for name, folder in _CACHES.items()} if cache.is_dir() else {}
        wanted |= _QUIET
        keys, token = self._at(container.S3_FOLDER), self._at(container.HUB_FOLDER) / container.HUB_TOKEN
        if keys.is_dir():
            wanted[FOLDER_VARIABLE] = str(keys)
        if token.is_file():
            # By its path: the hub's client reads the file each time, so that a new token works at once.
            wanted["HF_TOKEN_PATH"] = str(token)
        return {name: value for name, value in wanted.items() if name not in self.environment}

    def _at(self, path: PurePosixPath) -> Path:
        return self.root / path.relative_to("/")


def shard_of(mounts: Mounts, job: AsyncDiffJob) -> tuple[int, int]:
    """Gives the shard's number and how many there are.

    Raises:
        InvalidJobError: There is no such shard.
    """
    shard, shards = mounts.shard, shards_of(job)
    if shard >= shards:
        raise InvalidJobError(
            f"{container.SHARD_VARIABLE} is {shard}, and the job has the shards 0 to {shards - 1}: its "
            "parallelism.shards is to be the Indexed Job's completions"
        )
    return shard, shards
