"""Progress of a job in a terminal, or line by line in a log."""

from __future__ import annotations

from collections.abc import Iterator

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from asyncdiff_operator.commands.cluster import Cluster
from asyncdiff_operator.commands.describe import conditions_that_matter, items_of, speed_of
from asyncdiff_operator.commands.follow import look_at_status, looks
from asyncdiff_operator.commands.output import error_console
from asyncdiff_operator.commands.status import state_line
from asyncdiff_operator.commands.view import JobView, look


def show_until_ended(cluster: Cluster, name: str, uid: str) -> JobView:
    """Shows on standard error how far a job is, and gives the last look at it, pods and events included."""
    seen = looks(cluster, name, uid, look_at_status)
    last = _bar(seen) if error_console().is_terminal else _lines(seen)
    return look(cluster, last.name)


def _bar(seen: Iterator[JobView]) -> JobView:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=error_console(), transient=True) as progress:
        task = progress.add_task("Pending", total=None, counts="")
        said: set[str] = set()
        for view in seen:
            items = view.status.items
            counts = ", ".join(filter(None, (items_of(view.status), speed_of(view.status).partition(";")[0])))
            progress.update(
                task,
                description=str(view.status.phase or "Pending"),
                total=items.total if items is not None else None,
                completed=(items.done or 0) if items is not None else 0,
                counts=counts,
            )
            for line in hindrances(view):
                if line not in said:
                    progress.console.print(line)
                said.add(line)
    return view


def _lines(seen: Iterator[JobView]) -> JobView:
    """A line whenever something has changed, for logs of pipelines."""
    said: set[str] = set()
    before = ""
    for view in seen:
        line = state_line(view)
        news = [line] if line != before else []
        news += [hindrance for hindrance in hindrances(view) if hindrance not in said]
        for text in news:
            error_console().print(text)
        said.update(news)
        before = line
    return view


def hindrances(view: JobView) -> list[str]:
    """Gives what a waiting person should know before the end, a sentence each."""
    if view.ended:
        return []
    return [f"{each.type}: {each.reason}: {each.message}" for each in conditions_that_matter(view)]
