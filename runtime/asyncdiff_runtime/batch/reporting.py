"""What a pod says of itself: a view that changes as it works, and the report and the result made from it."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from asyncdiff_api.formats.blocks import BlockUnit, blocks_of_shard
from asyncdiff_api.formats.canonical import canonical_json, sha256_digest
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import MAX_RANKS, PlanSummary, Progress, RankProgress, Throughput
from asyncdiff_api.formats.result import Result

from asyncdiff_runtime.batch.assignment import RankState, counts_of, download_of, made_of, recorded_of
from asyncdiff_runtime.batch.launch import Ended
from asyncdiff_runtime.batch.throughput import (
    Sample,
    Samples,
    items_per_second,
    remaining_seconds,
    sampled,
    throughput_of,
)

logger = logging.getLogger(__name__)

_PHASES = ("Draining", "Compiling", "Generating", "Waiting", "Loading", "Starting", "Ended")
"""What a pod is said to do: the first of these that one of its ranks does."""


NOTHING: Final = ItemCounts()


@dataclass(frozen=True, kw_only=True)
class View:
    """A pod as it knows itself at one moment."""

    shard: int = 0
    shards: int = 0
    """0 while the job is not read."""
    attempt: str
    world: int = 1
    started: float
    """Seconds of the monotonic clock."""
    looked: float | None = None
    """When the ranks were last looked after; None before they start and after they end."""
    states: Mapping[int, RankState] = field(default_factory=dict)
    earlier: ItemCounts = NOTHING
    """What the ledger held when it was last counted: as the pod starts, and once more if its ranks end early."""
    total: int | None = None
    """Items of the shard, duplicates included; None where only the lines' bytes are known."""
    plan: PlanSummary | None = None
    samples: Samples = ()
    """From when the first rank was ready to make items."""
    made_at: float | None = None
    """When an item was last finished, in seconds of the monotonic clock; None before the first."""
    flushes: int = 0
    """Results that were written."""

    @property
    def counts(self) -> ItemCounts:
        """Items of the shard, those included that are not in the ledger yet."""
        return _at_least(self.earlier, counts_of(self.states.values()))

    @property
    def recorded(self) -> ItemCounts:
        """Items of the shard that the ledger holds."""
        return _at_least(self.earlier, recorded_of(self.states.values()))

    @property
    def throughput(self) -> Throughput | None:
        """How fast the pod is; None before ranks say something."""
        return throughput_of(self.states, self.samples) if self.states else None

    @property
    def phase(self) -> str:
        """What the pod does, in one word."""
        found = {state.phase for state in self.states.values()}
        return next((phase for phase in _PHASES if phase in found), "Starting")

    def with_states(self, states: Mapping[int, RankState], now: float) -> View:
        """Takes in what the ranks say."""
        made = made_of(states.values())
        ready = any(state.items is not None for state in states.values())
        return replace(
            self,
            states=states,
            looked=now,
            samples=sampled(self.samples, Sample(now, made)) if ready else (),
            made_at=now if made > made_of(self.states.values()) else self.made_at,
        )


def progress_of(view: View, sequence: int, now: float) -> Progress:
    """Gives the report of a pod.

    Args:
        view: The pod.
        sequence: Number of the report.
        now: Seconds of the monotonic clock.
    """
    loaded = any(state.phase not in ("Starting", "Loading") for state in view.states.values())
    ranks = sorted(view.states.values(), key=lambda state: state.rank)[:MAX_RANKS]
    return Progress(
        shard=view.shard,
        shards=view.shards,
        attempt=view.attempt,
        sequence=sequence,
        uptime_seconds=now - view.started,
        phase=view.phase,
        items=view.counts,
        running=sum(state.running for state in view.states.values() if state.items is not None),
        seconds_since_item=None if view.made_at is None else now - view.made_at,
        remaining_seconds=remaining_seconds(view.counts, view.total, items_per_second(view.samples)),
        throughput=view.throughput,
        plan=view.plan if loaded else None,
        download=download_of(view.states),
        world_size=view.world,
        ranks=tuple(_rank_progress(state) for state in ranks),
    )


def result_of(view: View, ended: Ended | None = None) -> Result:
    """Gives the termination message of a shard's pod: its last one where it is said how it ended."""
    return Result(
        scope="Shard",
        shard=view.shard,
        shards=view.shards,
        attempt=view.attempt,
        sequence=view.flushes,
        final=ended is not None,
        exit_code=None if ended is None else int(ended.exit_code),
        reason=view.phase if ended is None else ended.reason,
        message="" if ended is None else ended.message or _summary(view),
        items=view.recorded if ended is None else _with_total(view.recorded, ended),
        throughput=view.throughput,
        plan=view.plan,
    )


def plan_of(record: JobRecord, world: int) -> PlanSummary:
    """Says in short what `job.json` pins, as it is run on so many ranks."""
    schedule = record.schedule
    strategy = str(schedule["strategy"])
    together = strategy != "Data"
    degree = schedule.get("degree", 1) if together else 1
    groups = max(1, world // degree) if together and isinstance(degree, int) else 1
    return PlanSummary(
        strategy=strategy,
        data_parallel=1 if together else world,
        guidance_groups=groups,
        model_commit=record.model.commit,
        schedule_digest=sha256_digest(canonical_json(schedule)),
    )


def total_of_shard(record: JobRecord, shard: int, shards: int) -> int | None:
    """Gives the number of a shard's items, duplicates included; None where lines are not counted."""
    if record.blocks.unit is not BlockUnit.ITEMS:
        return None
    return len(record.blocks.span(blocks_of_shard(shard, shards, record.blocks.count)))


class Reporter:
    """Holds the view of one pod: the main thread and the watch change it, and threads that serve read it."""

    def __init__(self, view: View, termination_log: Path) -> None:
        self._view = view
        self._lock = threading.Lock()
        self._sequence = itertools.count()
        self._message = TerminationMessage(termination_log)
        self._written: ItemCounts | None = None

    @property
    def view(self) -> View:
        """The pod as it is known now."""
        return self._view

    def change(self, **changes: object) -> None:
        """Changes fields of the view."""
        with self._lock:
            self._view = replace(self._view, **changes)  # type: ignore[arg-type]  # -- named as the fields

    def watch(self, states: Mapping[int, RankState]) -> None:
        """Takes in what ranks say, and rewrites the result once the ledger has grown."""
        with self._lock:
            self._view = self._view.with_states(states, time.monotonic())
            if self._view.recorded != self._written:
                self._write(None)

    def progress(self) -> bytes:
        """Gives the report that is served."""
        return progress_of(self._view, next(self._sequence), time.monotonic()).to_line()

    def end(self, ended: Ended) -> Result:
        """Writes the last result and gives it."""
        with self._lock:
            return self._write(ended)

    def _write(self, ended: Ended | None) -> Result:
        result = result_of(self._view, ended)
        self._message.write(result)
        self._written = self._view.recorded
        self._view = replace(self._view, flushes=self._view.flushes + 1)
        return result


class TerminationMessage:
    """A file that is rewritten in place: the kubelet has mounted this very file, so none may take its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def write(self, result: Result) -> None:
        """Writes a result; whoever is killed at any moment leaves a whole one.

        A file that cannot be written is logged: how the work ends does not hang on it.
        """
        try:
            self._replace(result.encode())
        except OSError as error:
            logger.error("the result could not be written to %s: %s", self._path, error)  # noqa: TRY400 -- the sentence says it

    def _replace(self, data: bytes) -> None:
        # One write covers what was there, by blanks that JSON allows; only then is the file made shorter.
        padded = data.ljust(self._size)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(file, padded, 0)
            os.ftruncate(file, len(data))
        finally:
            os.close(file)
        self._size = len(data)


def _at_least(earlier: ItemCounts, now: ItemCounts) -> ItemCounts:
    """Gives the larger of each count: ranks count blocks as they come to them, and a ledger only grows."""
    names = ("done", "rejected", "failed", "duplicates")
    larger = {name: max(getattr(earlier, name), getattr(now, name)) for name in names}
    return ItemCounts(total=now.total, **larger)


def _with_total(recorded: ItemCounts, ended: Ended) -> ItemCounts:
    return recorded.model_copy(update={"total": ended.items.total})


def _summary(view: View) -> str:
    rate = items_per_second(view.samples)
    speed = "" if rate is None else f" at {rate:.3g} items/s"
    return f"{made_of(view.states.values())} items made{speed}"


def _rank_progress(state: RankState) -> RankProgress:
    return RankProgress(
        rank=state.rank,
        phase=state.phase,
        item=state.item or None,
        batch=state.running,
        evaluation=state.evaluation,
        evaluations=state.evaluations,
        heartbeat_age_seconds=state.heartbeat_age_seconds,
        memory_bytes=state.memory_bytes,
    )
