"""A pod's two commands: `python -m asyncdiff_runtime.batch.pod shard` and `… finish`.

Both read what `formats.container` names and leave their result in the termination message, whatever happens;
the exit code is the contract's.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from asyncdiff_api.formats.blocks import blocks_of_shard
from asyncdiff_api.formats.container import HTTP_PORT
from asyncdiff_api.formats.errors import (
    ContractError,
    DrainedError,
    InvalidJobError,
    exit_code_of,
    reason_of,
)
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.layout import JOB_RECORD
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.result import Result
from asyncdiff_api.formats.shards import shards_of
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_runtime.batch.assignment import Assignment
from asyncdiff_runtime.batch.finish import finish, result_of
from asyncdiff_runtime.batch.finished import finished_shard, recorded_counts
from asyncdiff_runtime.batch.launch import Ended, new_attempt, run_attempt
from asyncdiff_runtime.batch.ledger import Ledger
from asyncdiff_runtime.batch.logs import FIELDS, set_up_logs
from asyncdiff_runtime.batch.mounts import Mounts, shard_of
from asyncdiff_runtime.batch.preflight import check_shard, prepare
from asyncdiff_runtime.batch.record import Writer, own_record
from asyncdiff_runtime.batch.reporting import Reporter, TerminationMessage, View, plan_of, total_of_shard
from asyncdiff_runtime.batch.serving import pages_of, serving
from asyncdiff_runtime.storage import Storage

logger = logging.getLogger("asyncdiff_runtime.batch.pod")  # as a program, this module has another name

COUNT_SECONDS: Final = 5.0
"""How long the last word of a pod waits for a count of the ledger; a kubelet leaves 15 s after the drain."""


def run_shard(mounts: Mounts, port: int) -> ExitCode:
    """Works off the shard of this pod, and serves what it does meanwhile."""
    attempt = new_attempt()
    reporter = Reporter(View(attempt=attempt, started=time.monotonic()), mounts.termination_log)
    try:
        with serving(pages_of(reporter), port) as found, _told_to_go():
            logger.info("serving", extra={FIELDS: {"port": found}})
            ended = _work_off(mounts, attempt, reporter)
    except Exception as error:  # noqa: BLE001 -- whatever it was, the termination message says it
        ended = _ended_by(error)
    _leave(reporter.end(ended))
    return ended.exit_code


def run_finish(mounts: Mounts) -> ExitCode:
    """Writes the manifest of all shards, the gallery and the last word; may be run again."""
    attempt = new_attempt()
    message = TerminationMessage(mounts.termination_log)
    shards = 0
    try:
        with _told_to_go():
            job = mounts.job()
            shards = shards_of(job)
            _set_up_logs(mounts, job, {"attempt": attempt})
            storage = mounts.places.open_output(job)
            record = _record_of(storage, job, attempt)
            manifest = finish(storage, job, record, attempt, mounts.failure)
            result = result_of(manifest, shards, attempt)
    except Exception as error:  # noqa: BLE001 -- whatever it was, the termination message says it
        ended = _ended_by(error)
        nothing = Result(
            scope="Job",
            shards=shards,
            attempt=attempt,
            sequence=0,
            final=False,
            reason=reason_of(error),
            items=ItemCounts(),
        )
        result = nothing.ended_by(error, ended.exit_code)
    message.write(result)
    _leave(result)
    return ExitCode(result.exit_code or 0)


def _work_off(mounts: Mounts, attempt: str, reporter: Reporter) -> Ended:
    job = mounts.job()
    shard, shards = shard_of(mounts, job)
    world = job.spec.parallelism.gpus_per_pod
    _set_up_logs(mounts, job, {"shard": shard, "attempt": attempt})
    reporter.change(shard=shard, shards=shards, world=world)
    writer = _writer(job, attempt)
    if (done := finished_shard(job, mounts.places, writer, shard, shards)) is not None:
        total = total_of_shard(done.record, shard, shards)
        reporter.change(plan=plan_of(done.record, world), total=total, earlier=done.ended.items)
        logger.info("the shard is finished already")
        return done.ended
    record = prepare(job, mounts.places, writer)
    check_shard(job, mounts.places, record, shard, shards)
    total = total_of_shard(record, shard, shards)
    reporter.change(plan=plan_of(record, world), total=total)
    logger.info("prepared", extra={FIELDS: {"shards": shards, "items": total, "commit": record.model.commit}})
    storage = mounts.places.open_output(job)
    count = partial(_count_recorded, storage, record, shard, shards, reporter)
    counting = _aside(count)  # while the model is loaded
    assignment = Assignment(
        job=job.document(),
        record=record,
        places=mounts.places,
        shard=shard,
        shards=shards,
        attempt=attempt,
        trace=mounts.trace,
        json_logs=_as_json(),
    )
    try:
        ended = run_attempt(assignment, world, job.spec.run.drain_seconds, reporter.watch)
    finally:
        reporter.change(looked=None)
    if ended.exit_code is not ExitCode.DONE:
        # Ranks that ended early have not come to all that was finished before them.
        counting.join(COUNT_SECONDS)
        _aside(count).join(COUNT_SECONDS)
    return ended


def _record_of(storage: Storage, job: AsyncDiffJob, attempt: str) -> JobRecord:
    """Gives the prefix's record: it alone says what there is to sum up, so neither model nor worklist is asked.

    Raises:
        InvalidJobError: No shard came as far as writing it.
        AnotherJobError: It is another job's, whose manifest is left alone.
    """
    found = own_record(storage, job, _writer(job, attempt))
    if found is None:
        raise InvalidJobError(
            f"{storage.uri} holds no {JOB_RECORD}: no shard came as far as making something, so there is nothing to "
            "sum up; see why the shards ended"
        )
    return found


def _writer(job: AsyncDiffJob, attempt: str) -> Writer:
    return Writer(attempt=attempt, run=job.metadata.uid or attempt)


def _aside(work: Callable[[], None]) -> threading.Thread:
    """Begins work on a thread that hinders no end of the process."""
    thread = threading.Thread(target=work, name="count", daemon=True)
    thread.start()
    return thread


def _count_recorded(storage: Storage, record: JobRecord, shard: int, shards: int, reporter: Reporter) -> None:
    """Counts what the ledger holds of the shard."""
    try:
        ledger = Ledger(storage, record.request_digest, new_attempt(), shard)
        survey = ledger.survey(blocks_of_shard(shard, shards, record.blocks.count))
        reporter.change(earlier=recorded_counts(ledger, survey))
    except ContractError as error:
        logger.warning("what is recorded of the shard could not be counted: %s", error)


def _ended_by(error: Exception) -> Ended:
    """Gives the end that an error makes, and logs it: with a traceback only where nobody foresaw it."""
    code, reason = exit_code_of(error), reason_of(error)
    logger.log(
        logging.INFO if code is ExitCode.DRAINED else logging.ERROR,
        "%s: %s",
        reason,
        error,
        exc_info=code is ExitCode.UNEXPECTED,
    )
    return Ended(code, reason, str(error) or type(error).__name__, ItemCounts())


def _leave(result: Result) -> None:
    logger.info(
        "ended",
        extra={
            FIELDS: {
                "exitCode": result.exit_code,
                "reason": result.reason,
                "items": result.items.model_dump(by_alias=True),
            }
        },
    )


@contextmanager
def _told_to_go() -> Iterator[None]:
    """Has SIGTERM and SIGINT end what this thread does, outside of the time in which ranks hear them.

    From then on they are passed over: what is left to do is to say how it ended.
    """

    def go(_number: int, _frame: object) -> None:
        raise DrainedError("was told to go before it had begun; a resume makes everything")

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        signal.signal(number, go)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def _set_up_logs(mounts: Mounts, job: AsyncDiffJob, fields: dict[str, object]) -> None:
    common = {"job": job.metadata.name, "pod": mounts.pod, "trace": mounts.trace, **fields}
    set_up_logs(common, as_json=_as_json())


def _as_json() -> bool:
    return not sys.stderr.isatty()


def main() -> int:
    """Gives the exit code of the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="asyncdiff_runtime.batch.pod", description=__doc__)
    parser.add_argument("command", choices=("shard", "finish"))
    parser.add_argument(
        "--port", type=int, default=HTTP_PORT, help="where pages are served; 0 for any free one"
    )
    given = parser.parse_args()
    mounts = Mounts.of_process()
    set_up_logs({"pod": mounts.pod, "trace": mounts.trace}, as_json=_as_json())
    os.environ.update(mounts.variables())  # before any of these libraries is loaded
    if given.command == "finish":
        return int(run_finish(mounts))
    return int(run_shard(mounts, given.port))


if __name__ == "__main__":
    sys.exit(main())
