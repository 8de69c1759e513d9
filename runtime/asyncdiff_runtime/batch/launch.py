"""The parent process of a shard: starts its ranks, hears how they ended, and says it in one result."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.result import Result

from asyncdiff_runtime.batch.assignment import Assignment, RankState, counts_of, read_states

Watch = Callable[[Mapping[int, RankState]], None]
"""Told again and again what each rank last said."""

WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """How an attempt at a shard ended."""

    exit_code: ExitCode
    reason: str
    message: str
    items: ItemCounts
    made: int = 0
    """Items that the attempt has made; others were there."""

    def result(self, assignment: Assignment) -> Result:
        """Gives the termination message of the container that made the attempt."""
        return Result(
            scope="Shard",
            shard=assignment.shard,
            shards=assignment.shards,
            attempt=assignment.attempt,
            sequence=0,
            final=True,
            exit_code=int(self.exit_code),
            reason=self.reason,
            message=self.message,
            items=self.items,
        )


def new_attempt() -> str:
    """Gives a name that no other attempt has."""
    return secrets.token_hex(4)


def run_attempt(
    assignment: Assignment, processes: int, drain_seconds: int, watch: Watch, logs: Path | None = None
) -> Ended:
    """Starts the ranks of an attempt and waits for their end; for the main thread, which hears signals.

    SIGTERM and SIGINT are passed on: the ranks finish what they have in hand, record it, and the attempt ends
    as drained.

    Args:
        assignment: What is to be done.
        processes: Ranks to start.
        drain_seconds: Seconds that ranks have to end when they are told to.
        watch: Told what the ranks say.
        logs: Folder for what ranks print; None for this process's own output.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(drain_seconds)
    # Ranks that each take every core wait for each other's threads far longer than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    specs = DefaultLogsSpecs() if logs is None else DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ALL)
    with tempfile.TemporaryDirectory(prefix="asyncdiff-") as name:
        folder = Path(name)
        assignment.write(folder)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=assignment.attempt,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=specs,
        )
        failed: int | None = None
        told = False
        with _watching(folder, watch):
            try:
                elastic_launch(config, sys.executable)("-m", "asyncdiff_runtime.batch.rank", name)
            except ChildFailedError as error:
                failed = error.get_first_failure()[0]
                code = error.get_first_failure()[1].exitcode
                return ended(read_states(folder), failed, code)
            except SignalException:
                told = True
        states = read_states(folder)
        return drained(states) if told else ended(states, None, 0)


def ended(states: Mapping[int, RankState], failed: int | None, code: int) -> Ended:
    """Says how an attempt ended.

    Args:
        states: What each rank said last.
        failed: The rank that failed first; None if none did.
        code: Its exit code; negative for the signal that ended it.
    """
    items, made = counts_of(states.values()), sum(state.made for state in states.values())
    if failed is None:
        return Ended(ExitCode.DONE, Reason.ALL_ITEMS_DONE, "", items, made)
    state = states.get(failed)
    if code == ExitCode.DRAINED:  # who drains a pod tells its parent process, and this one was not told
        message = f"rank {failed} was told to go and the run was not; what is recorded stays, a retry makes the rest"
        return Ended(ExitCode.UNEXPECTED, Reason.UNEXPECTED_ERROR, message, items, made)
    if state is not None and state.exit_code is not None and state.exit_code == code:
        return Ended(ExitCode(code), state.reason, state.message, items, made)
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    message = f"rank {failed} {how} without a word; what it had recorded stays, and a retry makes the rest"
    return Ended(ExitCode.UNEXPECTED, Reason.UNEXPECTED_ERROR, message, items, made)


def drained(states: Mapping[int, RankState]) -> Ended:
    """Says how an attempt ended that was told to go."""
    items, made = counts_of(states.values()), sum(state.made for state in states.values())
    message = "was told to go; what is finished is recorded, and a resume makes the rest"
    return Ended(ExitCode.DRAINED, Reason.DRAINED, message, items, made)


@contextmanager
def _watching(folder: Path, watch: Watch) -> Iterator[None]:
    """Looks after the ranks' words from a thread of its own, and once more at the end."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(WATCH_SECONDS):
            watch(read_states(folder))

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        watch(read_states(folder))
