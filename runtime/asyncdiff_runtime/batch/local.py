"""A whole job on one machine: its shards one after the other, then the finish step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from asyncdiff_api.formats.blocks import BlockUnit
from asyncdiff_api.formats.exit_codes import ExitCode, FailurePolicyAction
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import ItemCounts, Manifest, add_counts
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_runtime.batch.assignment import Assignment, Places, RankState, counts_of
from asyncdiff_runtime.batch.finish import finish
from asyncdiff_runtime.batch.finished import end_of_finished, finished_shard
from asyncdiff_runtime.batch.launch import Ended, new_attempt, run_attempt
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.preflight import check_shard, foresee, prepare
from asyncdiff_runtime.batch.record import Writer
from asyncdiff_runtime.storage import Storage

OnProgress = Callable[[int, Mapping[int, RankState]], None]
"""Told the items that are recorded, and what each rank last said."""

LOG_LINES = 30


@dataclass(frozen=True)
class RunEnded:
    """How the shards of a run ended."""

    exit_code: ExitCode
    reason: str
    message: str
    items: ItemCounts
    made: int
    """Items that this run has made; others were there."""
    log: str = ""
    """The end of what the rank that failed had printed."""


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A job that has passed its checks, and may run."""

    job: AsyncDiffJob
    places: Places
    record: JobRecord
    shards: int
    storage: Storage = field(repr=False)

    @classmethod
    def prepare(cls, job: AsyncDiffJob, places: Places) -> LocalRun:
        """Checks job, output, model and the first lines of every shard.

        Raises:
            ContractError: The job cannot run; see its exit code.
        """
        writer = _writer()
        done = finished_shard(job, places, writer, 0, 1)
        if done is not None:
            return cls._of(job, places, done.record)
        return cls._checked(job, places, prepare(job, places, writer))

    @classmethod
    def foresee(cls, job: AsyncDiffJob, places: Places) -> LocalRun:
        """As `prepare`, but nothing is written; to be looked at, and not to be run.

        Raises:
            ContractError: The job cannot run; see its exit code.
        """
        return cls._checked(job, places, foresee(job, places, _writer()))

    @classmethod
    def _of(cls, job: AsyncDiffJob, places: Places, record: JobRecord) -> LocalRun:
        # Ranks start anew for each shard, and one machine gains nothing by several.
        shards = min(job.spec.parallelism.shards or 1, max(1, record.blocks.count))
        return cls(job=job, places=places, record=record, shards=shards, storage=places.open_output(job))

    @classmethod
    def _checked(cls, job: AsyncDiffJob, places: Places, record: JobRecord) -> LocalRun:
        run = cls._of(job, places, record)
        for shard in range(run.shards):
            check_shard(job, places, record, shard, run.shards)
        return run

    @property
    def uri(self) -> str:
        """Where the output lies."""
        return self.storage.uri

    @property
    def processes(self) -> int:
        """Ranks that work at once."""
        return self.job.spec.parallelism.gpus_per_pod

    @property
    def expected(self) -> int | None:
        """Items of the job, duplicates included; None where only the lines' bytes are known."""
        blocks = self.record.blocks
        return blocks.total if blocks.unit is BlockUnit.ITEMS else None

    def finished_blocks(self) -> int:
        """Gives the number of blocks that are finished already."""
        return len(self._ledger().survey(range(self.record.blocks.count)).complete)

    def run(self, on_progress: OnProgress) -> RunEnded:
        """Works off the shards; one that fails in a way that may pass is tried again, as in a cluster."""
        counts, made = ItemCounts(total=0), 0
        failed, failed_log = None, ""
        for shard in range(self.shards):
            done = counts.done

            def watch(states: Mapping[int, RankState], done: int = done) -> None:
                on_progress(done + counts_of(states.values()).done, states)

            ended, log = self._run_shard(shard, watch)
            counts, made = add_counts([counts, ended.items]), made + ended.made
            if ended.exit_code is not ExitCode.DONE:
                failed, failed_log = ended, log
                if ended.exit_code.action is not FailurePolicyAction.FAIL_INDEX:
                    break
        if failed is None:
            return RunEnded(ExitCode.DONE, "", "", counts, made)
        return RunEnded(failed.exit_code, failed.reason, failed.message, counts, made, failed_log)

    def finish(self, ended: RunEnded) -> Manifest:
        """Writes manifest, gallery and the last word; see `finish`."""
        return finish(self.storage, self.job, self.record, new_attempt(), ended.message)

    def _run_shard(self, shard: int, watch: Callable[[Mapping[int, RankState]], None]) -> tuple[Ended, str]:
        """Tries a shard until it ends for good; gives how, and the end of the failed ranks' output."""
        done = end_of_finished(self.storage, self.job, self.record, shard, self.shards)
        if done is not None:
            return done, ""
        made = 0
        for retry in range(self.job.spec.run.retries_per_shard + 1):
            assignment = Assignment(
                job=self.job.document(),
                record=self.record,
                places=self.places,
                shard=shard,
                shards=self.shards,
                attempt=new_attempt(),
            )
            with tempfile.TemporaryDirectory(prefix="asyncdiff-logs-") as name:
                drain = self.job.spec.run.drain_seconds
                ended = run_attempt(assignment, self.processes, drain, watch, Path(name))
                log = _tail(Path(name)) if ended.exit_code is ExitCode.UNEXPECTED else ""
            made += ended.made
            last = retry == self.job.spec.run.retries_per_shard
            if last or ended.exit_code.action is not FailurePolicyAction.COUNT:
                break
        return replace(ended, made=made), log

    def _ledger(self) -> Ledger:
        return Ledger(self.storage, self.record.request_digest, new_attempt(), 0)


def _writer() -> Writer:
    attempt = new_attempt()
    return Writer(attempt=attempt, run=attempt)


def _tail(folder: Path) -> str:
    """Gives the last lines that ranks wrote to standard error."""
    found = [path.read_text(errors="replace").splitlines() for path in sorted(folder.rglob("stderr.log"))]
    return "\n".join("\n".join(lines[-LOG_LINES:]) for lines in found if lines)
