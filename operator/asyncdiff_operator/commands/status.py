"""`asyncdiff status NAME`: how far a job in a cluster is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import typer
from rich.live import Live

from asyncdiff_operator.commands.cluster import connect
from asyncdiff_operator.commands.describe import describe, items_of
from asyncdiff_operator.commands.follow import looks
from asyncdiff_operator.commands.output import console
from asyncdiff_operator.commands.view import JobView, look

JOB_FAILED = 1
"""Exit code where the job was looked at and has failed."""


def print_job_status(
    name: str, *, namespace: str | None, context: str | None, watch: bool, as_json: bool
) -> None:
    """Prints the state of a job, and with `watch` again whenever it changes until the job has ended.

    Args:
        name: The job's name.
        namespace: Its namespace; None for the one of the kubeconfig's context.
        context: Context of the kubeconfig; None for its current one.
        watch: Go on until the job has ended.
        as_json: Print JSON, one document a line where `watch` prints several.

    Raises:
        typer.Exit: With 1 if the job has failed.
        ContractError: The cluster or the job cannot be reached.
    """
    cluster = connect(context, namespace)
    seen = looks(cluster, name, None, look) if watch else iter((look(cluster, name),))
    if as_json:
        last = _print_json(seen, indent=None if watch else 2)
    elif watch and console().is_terminal:
        last = _show_live(seen)
    else:
        last = _print_text(seen)
    if last.failed:
        raise typer.Exit(JOB_FAILED)


def _print_json(seen: Iterator[JobView], *, indent: int | None) -> JobView:
    before = ""
    for view in seen:
        text = json.dumps(view.as_json(), indent=indent, ensure_ascii=False)
        if text != before:
            typer.echo(text)
        before = text
    return view


def _show_live(seen: Iterator[JobView]) -> JobView:
    with Live(console=console(), auto_refresh=False) as live:
        for view in seen:
            live.update(describe(view, datetime.now(UTC)), refresh=True)
    return view


def _print_text(seen: Iterator[JobView]) -> JobView:
    """Prints the whole at the end, and before that a line whenever something has changed."""
    before = ""
    for view in seen:
        line = state_line(view)
        if not view.ended and before and line != before:
            typer.echo(line)
        before = line
    console().print(describe(view, datetime.now(UTC)))
    return view


def state_line(view: JobView) -> str:
    """Gives phase and items in a line."""
    return f"{view.status.phase or 'Pending'}: {items_of(view.status)}"
