"""The parent process of a shard: starts its ranks, hears how they ended, and says it in one result."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.result import Result

from asyncdiff_runtime.batch.assignment import Assignment, RankState, counts_of, made_of, read_states
from asyncdiff_runtime.batch.heartbeat import read_pulses
from asyncdiff_runtime.batch.watchdog import Hung, Patience, Watchdog

logger = logging.getLogger(__name__)

RANK_MODULE: Final = "asyncdiff_runtime.batch.rank"

Watch = Callable[[Mapping[int, RankState]], None]
"""Told again and again what each rank last said."""

WATCH_SECONDS: Final = 0.5
PASSED_ON: Final = "SIGTERM,SIGHUP,SIGQUIT"
"""Signals at which the launcher drains the ranks; what Ctrl-C means is for the command line to say."""


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

    SIGTERM is passed on: the ranks finish what they have in hand, record it, and the attempt ends
    as drained. A rank that gives no sign of life for too long is killed, and the attempt ends; see `watchdog`.

    Args:
        assignment: What is to be done.
        processes: Ranks to start.
        drain_seconds: Seconds that ranks have to end when they are told to.
        watch: Told what the ranks say.
        logs: Folder for what ranks print; None for this process's own output.

    Raises:
        WrongJobError: The environment sets the watchdog's limits to what is no number of seconds.
    """
    _set_environment(processes, drain_seconds)
    together = assignment.record.schedule["strategy"] != "Data"
    watchdog = Watchdog(patience=Patience.of_environment(), world=processes, together=together)
    with tempfile.TemporaryDirectory(prefix="asyncdiff-") as name, _own_signals():
        folder = Path(name)
        assignment.write(folder)
        with _watching(folder, watch, watchdog) as verdict:
            failure = _run_ranks(folder, assignment.attempt, processes, logs)
        states = read_states(folder)
        match failure:
            case _Told():
                return drained(states)
            case _ if verdict.hung is not None:
                return hung(states, verdict.hung)
            case _Failure(rank, code):
                return ended(states, rank, code)
            case None:
                return ended(states, None, 0)


class _Told(NamedTuple):
    """This process was told to go."""


class _Failure(NamedTuple):
    """The rank that failed first, and its exit code."""

    rank: int
    code: int


def _run_ranks(folder: Path, attempt: str, processes: int, logs: Path | None) -> _Told | _Failure | None:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    specs = DefaultLogsSpecs() if logs is None else DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ALL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=attempt,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=specs,
        signals_to_handle=PASSED_ON,
    )
    try:
        elastic_launch(config, sys.executable)("-m", RANK_MODULE, str(folder))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return _Failure(rank, failure.exitcode)
    except SignalException:
        return _Told()
    return None


def _set_environment(processes: int, drain_seconds: int) -> None:
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(drain_seconds)
    # Ranks that each take every core wait for each other's threads far longer than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def ended(states: Mapping[int, RankState], failed: int | None, code: int) -> Ended:
    """Says how an attempt ended.

    Args:
        states: What each rank said last.
        failed: The rank that failed first; None if none did.
        code: Its exit code; negative for the signal that ended it.
    """
    items, made = counts_of(states.values()), made_of(states.values())
    if failed is None:
        return Ended(ExitCode.DONE, Reason.ALL_ITEMS_DONE, "", items, made)
    state = states.get(failed)
    if code == ExitCode.DRAINED:  # who drains a pod tells its parent process, and this one was not told
        message = f"rank {failed} was told to go and the run was not; what is recorded stays, a retry makes the rest"
        return Ended(ExitCode.UNEXPECTED, Reason.UNEXPECTED_ERROR, message, items, made)
    if state is not None and state.exit_code is not None and state.exit_code == code:
        return Ended(ExitCode(code), state.reason, state.message, items, made)
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    if code == -signal.SIGKILL:
        how += " (the kernel does that to processes when memory runs out)"
    message = f"rank {failed} {how} without a word; what it had recorded stays, and a retry makes the rest"
    return Ended(ExitCode.UNEXPECTED, Reason.UNEXPECTED_ERROR, message, items, made)


def drained(states: Mapping[int, RankState]) -> Ended:
    """Says how an attempt ended that was told to go."""
    items, made = counts_of(states.values()), made_of(states.values())
    message = "was told to go; what is finished is recorded, and a resume makes the rest"
    return Ended(ExitCode.DRAINED, Reason.DRAINED, message, items, made)


def hung(states: Mapping[int, RankState], found: Hung) -> Ended:
    """Says how an attempt ended in which a rank hung."""
    items, made = counts_of(states.values()), made_of(states.values())
    state = states.get(found.rank)
    message = found.message(state.item if state is not None else "")
    return Ended(ExitCode.UNEXPECTED, Reason.RANK_HUNG, message, items, made)


@dataclass
class _Verdict:
    hung: Hung | None = None


@contextmanager
def _watching(folder: Path, watch: Watch, watchdog: Watchdog) -> Iterator[_Verdict]:
    """Looks after the ranks from a thread of its own, and once more at the end."""
    over, verdict = threading.Event(), _Verdict()

    def look(watchdog: Watchdog) -> Watchdog:
        watchdog = watchdog.look(time.monotonic(), read_pulses(folder, watchdog.world))
        states = read_states(folder)
        watch(states)
        silent = {rank for rank, state in states.items() if state.phase == "Ended"}
        if verdict.hung is None and (found := watchdog.verdict(silent)) is not None:
            verdict.hung = found
            logger.error("%s: %s", Reason.RANK_HUNG, hung(states, found).message)
            _kill(folder, found.rank)
        return watchdog

    def keep_looking(watchdog: Watchdog) -> None:
        while not over.wait(WATCH_SECONDS):
            try:
                watchdog = look(watchdog)
            except Exception:  # a full disk, say: who watches goes on
                logger.exception("the ranks could not be looked after")

    thread = threading.Thread(target=keep_looking, args=(watchdog,), name="watch", daemon=True)
    thread.start()
    try:
        yield verdict
    finally:
        over.set()
        thread.join()
        watch(read_states(folder))


def _kill(folder: Path, rank: int) -> None:
    """Ends a rank that may hear nothing any more, or may never have said its process number."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while it is looked at, and others' may not be looked at
            command = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
            if str(folder).encode() in command and f"RANK={rank}".encode() in variables:
                os.kill(int(process.name), signal.SIGKILL)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Gives the handlers back that torch's launcher replaces."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
