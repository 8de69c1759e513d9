"""`asyncdiff status`: how far a job is, read from its output, or asked of a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from asyncdiff_api.amounts import age, counted, of_items, rate, schedule_words, seconds, short_commit
from asyncdiff_api.formats.errors import ContractError
from asyncdiff_api.formats.layout import JOB_RECORD
from asyncdiff_api.wording import nearest
from rich.live import Live
from rich.text import Text

from asyncdiff_runtime.cli.access import Endpoint, Profile, Region, is_prefix, open_prefix
from asyncdiff_runtime.cli.extensions import cluster_status, naming_the_extra
from asyncdiff_runtime.cli.output import console, refuse

if TYPE_CHECKING:
    from asyncdiff_runtime.batch.prefix import Gap, PrefixReader, PrefixStatus

WATCH_SECONDS: Final = 2.0
MOST_GAPS: Final = 8
JOB_FAILED: Final = 1
"""Exit code where the job was looked at and has failed."""

_CLUSTER = "Cluster"
_STYLES = {"Succeeded": "green", "Failed": "bold red", "Unfinished": "yellow"}


def print_status(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="Output of a job: a folder or s3://…; or a job's name in a cluster."
        ),
    ],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the job has ended.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with --watch one document a line.")
    ] = False,
    endpoint: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Namespace of the job.", rich_help_panel=_CLUSTER),
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="Context of the kubeconfig.", rich_help_panel=_CLUSTER)
    ] = None,
) -> None:
    """Show how far a job is: a folder or bucket that it writes to, or a job in a cluster by its name.

    An address that begins with s3://, a path with a slash, and whatever exists here is read as the output of a
    job; any other word names a job in the cluster of the kubeconfig. A folder can be watched from another
    machine than the one that works, and needs no GPU. Ends with 1 if the job has failed.
    """
    in_cluster = namespace is not None or context is not None
    if is_prefix(target) and not in_cluster:
        _print_prefix(target, endpoint, region, profile, watch=watch, as_json=as_json)
        return
    here = "" if in_cluster else _no_folder(target)
    ask = cluster_status()
    if ask is None:
        refuse(
            f"there is no folder {target} here, and this asyncdiff has no part that asks a cluster; name the "
            "output of a job"
        )
    with naming_the_extra(f"{here}. " if here else ""):
        try:
            ask(target, namespace=namespace, context=context, watch=watch, as_json=as_json)
        except ContractError as error:
            raise type(error)(f"{here}: {error}" if here else str(error)) from error


def _no_folder(target: str) -> str:
    """Says why a word is taken for a job in a cluster, and which folder may have been meant."""
    near = nearest(target, [path.parent.name for path in Path.cwd().glob(f"*/{JOB_RECORD}")])
    meant = f" (did you mean {near}?)" if near else ""
    return f"'{target}' is no folder here{meant}, so it names a job in a cluster"


def _print_prefix(
    target: str, endpoint: str, region: str, profile: str, *, watch: bool, as_json: bool
) -> None:
    storage = open_prefix(target, endpoint, region, profile)
    from asyncdiff_runtime.batch.prefix import PrefixReader

    reader = PrefixReader(storage)
    if as_json:
        last = _print_json(reader, watch=watch)
    elif watch and console().is_terminal:
        last = _show_live(reader)
    else:
        last = _print_text(reader, watch=watch)
    if last.state == "Failed":
        raise typer.Exit(JOB_FAILED)


def _looks(reader: PrefixReader, *, watch: bool) -> Iterator[PrefixStatus]:
    """Gives what the prefix holds; with `watch` again and again until the job has ended."""
    while True:
        found = reader.read()
        yield found
        if not watch or found.completion is not None:
            return
        time.sleep(WATCH_SECONDS)


def _print_json(reader: PrefixReader, *, watch: bool) -> PrefixStatus:
    for found in _looks(reader, watch=watch):
        typer.echo(found.to_line() if watch else found.to_pretty(), nl=watch)
    return found


def _print_text(reader: PrefixReader, *, watch: bool) -> PrefixStatus:
    """Prints the whole at the end, and before that a line whenever something has changed."""
    before = ""
    for found in _looks(reader, watch=watch):
        line = (
            f"{of_items(found.items)}; {found.finished_blocks} of {counted(found.blocks, 'block')} finished"
        )
        if found.completion is None and watch and line != before:
            typer.echo(line)
        before = line
    console().print(describe(found, datetime.now(UTC)))
    return found


def _show_live(reader: PrefixReader) -> PrefixStatus:
    with Live(console=console(), auto_refresh=False) as live:
        for found in _looks(reader, watch=True):
            live.update(describe(found, datetime.now(UTC)), refresh=True)
    return found


def describe(found: PrefixStatus, now: datetime) -> Text:
    """Gives a status in words.

    Args:
        found: What the prefix holds.
        now: Time of day, from which ages are counted.
    """
    head = Text.assemble(
        (str(found.job.get("name") or "(no name)"), "bold"),
        "  ",
        (str(found.state), _STYLES[found.state]),
        (f"  last write {age(now - found.last_write_at)} ago", "dim"),
    )
    return Text("\n").join(
        [head, *(Text.assemble((f"{name:<10}", "dim"), value) for name, value in _rows(found))]
    )


def _rows(found: PrefixStatus) -> Iterator[tuple[str, str | Text]]:
    yield "model", f"{found.model.source} at {short_commit(found.model.commit)}"
    yield "schedule", schedule_words(found.schedule)
    yield "items", of_items(found.items)
    yield "blocks", _blocks(found)
    if speed := _speed(found):
        yield "speed", speed
    if found.completion is not None and not found.completion.succeeded:
        yield "reason", Text(f"{found.completion.reason}: {found.completion.message}", "red")
        yield "remedy", found.remedy
    yield "output", found.uri
    if found.gallery:
        yield "gallery", found.gallery


def _blocks(found: PrefixStatus) -> str:
    if not found.gaps:
        return f"all {found.blocks} finished"
    runs = ", ".join(map(_gap, found.gaps[:MOST_GAPS]))
    more = f" and {len(found.gaps) - MOST_GAPS} more runs" if len(found.gaps) > MOST_GAPS else ""
    shards = sorted({shard for gap in found.gaps for shard in gap.shards})
    whose = f"; {'shard' if len(shards) == 1 else 'shards'} {', '.join(map(str, shards))}" if shards else ""
    return f"{found.finished_blocks} of {found.blocks} finished; unfinished are {runs}{more}{whose}"


def _gap(gap: Gap) -> str:
    return f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"


def _speed(found: PrefixStatus) -> str:
    speed, parts = found.throughput, []
    if speed.items_per_second:
        parts.append(rate(speed.items_per_second))
    if speed.seconds_per_item is not None:
        of = speed.seconds_per_item
        parts.append(f"an item takes {seconds(of.p50)}, one in twenty more than {seconds(of.p95)}")
    return "; ".join(parts)
