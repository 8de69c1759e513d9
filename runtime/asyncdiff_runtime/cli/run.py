"""`asyncdiff run`: a job on this machine, without a cluster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from asyncdiff_api import validation
from asyncdiff_api.amounts import counted, of_items, rate, seconds
from asyncdiff_api.files.documents import read_documents
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.layout import ITEMS, MANIFEST, REJECTED
from asyncdiff_api.job import AsyncDiffJob
from rich.console import Console

from asyncdiff_runtime.cli.changes import changed
from asyncdiff_runtime.cli.interrupts import draining_on_interrupt
from asyncdiff_runtime.cli.output import console, error_console, waiting
from asyncdiff_runtime.cli.progress import watching

if TYPE_CHECKING:
    from asyncdiff_api.formats.manifest import Manifest

    from asyncdiff_runtime.batch.assignment import Places
    from asyncdiff_runtime.batch.local import LocalRun


def run_job(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON with one AsyncDiffJob.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR", help="Folder or s3:// address in place of the job's."),
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field, such as spec.generate.steps=20."),
    ] = None,
    volumes: Annotated[
        list[str] | None,
        typer.Option(
            "--volume", metavar="CLAIM=DIR", help="Folder of a volume that the job names by its claim."
        ),
    ] = None,
    worklist: Annotated[
        Path | None,
        typer.Option("--worklist", metavar="FILE", help="The worklist that the job names by ConfigMap."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check job, worklist and model; make nothing and write nothing.")
    ] = False,
) -> None:
    """Run a job on this machine: all shards one after the other, then the finish step.

    What the output holds of the same job already is not made again. Ctrl-C finishes the items in hand,
    records them and ends with 75, and the same command goes on from there; a second Ctrl-C stops at once.
    """
    job = read_job(file, changes or ())
    places = _places(output, volumes or (), worklist)
    raise typer.Exit(_run(job, places, error_console(), dry_run=dry_run))


def read_job(file: Path, changes: list[str] | tuple[str, ...]) -> AsyncDiffJob:
    """Gives the one job of a file, changed as asked.

    Raises:
        InvalidJobError: The file cannot be read, or does not hold exactly one valid job.
    """
    try:
        reading = read_documents(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidJobError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidJobError(f"{file} is not UTF-8 ({error}); save it as UTF-8") from error
    flaws = [flaw for document in reading.documents for flaw in document.flaws]
    if reading.flaw is not None or flaws:
        flaw = reading.flaw or flaws[0]
        raise InvalidJobError(f"{file}:{flaw.place.line}:{flaw.place.column}: {flaw.message}")
    jobs: list[dict[str, Any]] = [
        document.content
        for document in reading.documents
        if isinstance(document.content, dict) and document.content.get("kind") == "AsyncDiffJob"
    ]
    if len(jobs) != 1:
        kinds = [
            document.content.get("kind")
            for document in reading.documents
            if isinstance(document.content, dict)
        ]
        others = sorted({str(kind) for kind in kinds if kind not in {None, "AsyncDiffJob"}})
        beside = f", and such of kind {', '.join(others)}" if others else ""
        raise InvalidJobError(
            f"{file} holds {len(jobs)} documents of kind AsyncDiffJob{beside}; wanted is one AsyncDiffJob: "
            "`asyncdiff validate` shows what a file holds"
        )
    try:
        return validation.load(changed(jobs[0], changes))
    except validation.InvalidJobError as error:
        raise InvalidJobError(f"{file}: {error}") from error


def _places(output: str, volumes: list[str] | tuple[str, ...], worklist: Path | None) -> Places:
    from asyncdiff_runtime.batch.assignment import Places

    mounted = {}
    for volume in volumes:
        claim, sign, folder = volume.partition("=")
        if not sign or not Path(folder).is_dir():
            raise InvalidJobError(
                f"--volume {volume}: write it as CLAIM=DIR, where DIR is a folder that exists"
            )
        mounted[claim] = Path(folder).absolute()
    return Places(output=output, volumes=mounted, worklist=worklist)


def _run(job: AsyncDiffJob, places: Places, errors: Console, *, dry_run: bool) -> int:
    """Runs a job; gives the exit code."""
    listed = job.spec.generate.worklist
    if places.worklist is not None and (listed is None or listed.config_map is None):
        raise InvalidJobError(
            "--worklist gives the file of a job that names its worklist by ConfigMap, and this one does not; leave it "
            "out, or set spec.generate.worklist.configMap"
        )
    os.environ.setdefault(
        "TRANSFORMERS_VERBOSITY", "error"
    )  # what it says of its own changes is not for here
    from asyncdiff_runtime.batch.local import LocalRun

    with waiting("Checking job, model and output"):
        run = LocalRun.foresee(job, places) if dry_run else LocalRun.prepare(job, places)
    if dry_run:
        _print_plan(run)
        return 0
    began = time.perf_counter()
    with watching(errors, run.expected) as watch, draining_on_interrupt(errors.print), _own_words():
        ended = run.run(watch)
    made = _made(ended.made, time.perf_counter() - began)
    if ended.exit_code is ExitCode.DRAINED:
        errors.print(f"{ended.reason}: {of_items(ended.items)}, {made}. The same command makes the rest.")
        return int(ExitCode.DRAINED)
    with waiting("Writing manifest and gallery"):
        manifest = run.finish(ended)
    if not manifest.succeeded:
        errors.print(f"{ended.reason or manifest.reason}: {ended.message or manifest.message}")
        if ended.log:
            errors.print(ended.log)
    _print_end(run, manifest, made)
    if ended.exit_code is not ExitCode.DONE:
        return int(ended.exit_code)
    return 0 if manifest.succeeded else int(ExitCode.BAD_LINES)


@contextmanager
def _own_words() -> Iterator[None]:
    """Keeps torch's launcher from logging, at length, that ranks have ended: the run says why they did."""
    launcher, nowhere = logging.getLogger("torch.distributed.elastic"), logging.NullHandler()
    launcher.addHandler(nowhere)
    launcher.propagate = False
    try:
        yield
    finally:
        launcher.propagate = True
        launcher.removeHandler(nowhere)


def _print_plan(run: LocalRun) -> None:
    out = console()
    out.print(f"job       {run.job.metadata.name or '(no name)'}")
    out.print(f"model     {run.record.model.source} at {run.record.model.commit}")
    out.print(f"schedule  {run.record.schedule['strategy']} on {run.processes} processes")
    blocks = run.record.blocks
    unit = blocks.unit.lower().removesuffix("s")
    out.print(f"worklist  {counted(blocks.total, unit)} in {counted(blocks.count, 'block')}")
    out.print(
        f"shards    {run.shards}; {run.finished_blocks()} of {run.record.blocks.count} blocks are finished"
    )
    out.print(f"output    {run.uri}")


def _made(made: int, duration: float) -> str:
    return f"{made:,} made now in {seconds(duration)}, {rate(made / duration)}" if made else "0 made now"


def _print_end(run: LocalRun, manifest: Manifest, made: str) -> None:
    out = console()
    out.print(f"{of_items(manifest.items)}; {made}")
    places = {
        "pictures": ITEMS if manifest.items.done else None,
        "rejected": REJECTED if manifest.items.rejected else None,
        "gallery": manifest.gallery,
        "contact sheet": manifest.contact_sheet,
        "manifest": MANIFEST,
    }
    for name, key in places.items():
        if key is not None:
            out.print(f"{name:<14}{run.uri}{key}")
