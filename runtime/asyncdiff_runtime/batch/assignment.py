"""What a rank is told, and what it says in return: two JSON files of one folder on its own machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from asyncdiff_api.formats.document import FormatModel
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import ItemCounts, add_counts
from asyncdiff_api.formats.progress import Download, GpuSeconds
from asyncdiff_api.job import AsyncDiffJob
from pydantic import Field

from asyncdiff_runtime.batch.heartbeat import Pulse, Stage, pulse_file
from asyncdiff_runtime.batch.worklist import Worklist, file_worklist, inline_worklist
from asyncdiff_runtime.storage import FolderStorage, Storage, open_output, open_storage

ITEM_SECONDS_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Durations of items are counted up to these many seconds."""


class Places(FormatModel):
    """Where a job's parts lie on this machine."""

    output: str = ""
    """Folder or `s3://` address in place of the job's own output."""
    volumes: dict[str, Path] = Field(default_factory=dict)
    """Folder of each mounted volume by the name of its claim."""
    worklist: Path | None = None
    """File with the worklist that the job names by ConfigMap."""

    def open_output(self, job: AsyncDiffJob, *, reached: bool = False) -> Storage:
        """Opens the output; see `open_storage`."""
        if self.output:
            return open_storage(self.output, job.spec.output, reached=reached)
        volume = job.spec.output.volume
        mounted = self.volumes.get(volume.claim_name) if volume else None
        return open_output(job.spec.output, mounted, reached=reached)

    def open_worklist(self, job: AsyncDiffJob) -> Worklist:
        """Opens the worklist.

        Raises:
            InvalidJobError: It is a ConfigMap's and no file is named.
            WorklistUnreadableError: As `file_worklist`.
            WorklistLineError: As `file_worklist`.
        """
        generate = job.spec.generate
        if generate.worklist is None:
            return inline_worklist(generate)
        if generate.worklist.s3 is not None:
            folder, _, name = generate.worklist.s3.rpartition("/")
            return file_worklist(
                open_storage(f"{folder}/", job.spec.output), name, generate, generate.worklist.s3
            )
        assert generate.worklist.config_map is not None, "the API demands one source"
        reference = f"{generate.worklist.config_map.name}/{generate.worklist.config_map.key}"
        if self.worklist is None:
            raise InvalidJobError(
                f"the worklist is the ConfigMap key {reference}, which a cluster mounts; name its file with "
                "--worklist FILE"
            )
        storage = FolderStorage(self.worklist.absolute().parent)
        return file_worklist(storage, self.worklist.name, generate, f"configMap:{reference}")


class Assignment(FormatModel):
    """One attempt at one shard."""

    job: JsonMap
    record: JobRecord
    places: Places
    shard: int
    shards: int
    attempt: str
    trace: str = ""
    """32 hexadecimal digits that the logs and files of one job have in common; empty outside a cluster."""
    json_logs: bool = False
    """Whether ranks log lines of JSON, for a machine to read."""

    def write(self, folder: Path) -> None:
        """Leaves the assignment for the ranks."""
        (folder / "assignment.json").write_bytes(self.to_line())

    @classmethod
    def read(cls, folder: Path) -> Assignment:
        """Reads what `write` has left."""
        return cls.model_validate_json((folder / "assignment.json").read_bytes())


class ItemSeconds(FormatModel):
    """How long items took, counted by duration."""

    counts: tuple[int, ...] = (0,) * (len(ITEM_SECONDS_BOUNDS) + 1)
    """Items up to each of `ITEM_SECONDS_BOUNDS` and above the one before; the last one counts the rest."""
    sum: float = 0.0
    """Seconds of all of them."""


class RankState(FormatModel):
    """What a rank last said."""

    rank: int
    phase: str = "Starting"
    """Starting, Loading, Compiling, Generating, Waiting, Draining or Ended."""
    items: ItemCounts | None = None
    """Counts of the rank's own blocks, earlier attempts included; None for a rank that keeps no ledger."""
    recorded: ItemCounts | None = None
    """As `items`, but only what the ledger holds."""
    made: int = 0
    """Items that this attempt has made."""
    running: int = 0
    """Items in hand: the size of the batch."""
    item: str = ""
    """Id of the item in hand; of a batch, of the first."""
    evaluation: int = 0
    """Evaluations begun of the items in hand."""
    evaluations: int = 0
    """Evaluations that they take; 0 while it is not known."""
    download: Download | None = None
    """How far the model's files have come; None but while they are fetched."""
    heartbeat_age_seconds: float = 0.0
    """Time since the last sign of life at the time of reading: of the item in hand, else of the process."""
    memory_bytes: int | None = None
    """Highest GPU memory in use so far."""
    gpu_seconds: GpuSeconds = GpuSeconds()
    recent_seconds: tuple[float, ...] = ()
    """Seconds of each of the latest items, oldest first."""
    item_seconds: ItemSeconds = ItemSeconds()
    """Seconds of all items of this attempt."""
    milliseconds_per_step: float | None = None
    """Milliseconds between two evaluations of a sample, lately."""
    queued: int = 0
    """Results that wait for encoding and upload."""
    written_bytes: int = 0
    """Size of the objects that this attempt has written."""
    exit_code: int | None = None
    reason: str = ""
    message: str = ""

    def write(self, folder: Path) -> None:
        """Replaces what was said before."""
        path = folder / f"rank-{self.rank}.json"
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(self.to_line())
        unfinished.replace(path)


def read_states(folder: Path) -> dict[int, RankState]:
    """Gives what each rank last said, by its number, with what its pulse tells since."""
    states = (RankState.model_validate(json.loads(path.read_bytes())) for path in folder.glob("rank-*.json"))
    return {state.rank: _with_pulse(state, folder) for state in states}


def _with_pulse(state: RankState, folder: Path) -> RankState:
    pulse = Pulse.read(pulse_file(folder, state.rank))
    if pulse is None or state.phase == "Ended":
        return state
    at_work = pulse.stage is not Stage.APART
    sign = pulse.beat if at_work else pulse.alive
    told: dict[str, object] = {
        "heartbeat_age_seconds": max(0.0, time.monotonic() - sign),
        "evaluation": pulse.evaluation if at_work else 0,
        "evaluations": pulse.evaluations if at_work else 0,
    }
    return state.model_copy(update=told)


def counts_of(states: Iterable[RankState]) -> ItemCounts:
    """Adds up what ranks have counted; `total` is None while one of them does not know it."""
    counted = [state.items for state in states if state.items is not None]
    return add_counts(counted) if counted else ItemCounts()


def made_of(states: Iterable[RankState]) -> int:
    """Gives the items that an attempt has made; those of a rank that follows another are the other's."""
    return sum(state.made for state in states if state.items is not None)


def recorded_of(states: Iterable[RankState]) -> ItemCounts:
    """Adds up what ranks have written to the ledger; otherwise as `counts_of`."""
    recorded = [state.recorded for state in states if state.recorded is not None]
    return add_counts(recorded) if recorded else ItemCounts()


def download_of(states: Mapping[int, RankState]) -> Download | None:
    """Gives how far the files of the model have come, which all ranks wait for; None while none is fetched."""
    downloads = [state.download for state in states.values() if state.download is not None]
    return max(downloads, key=lambda one: one.received_bytes, default=None)
