"""A job in a cluster in words: where it stands, what hinders it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from asyncdiff_api.amounts import age, counted, of_bytes, of_items, rate, seconds
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.formats.exit_codes import describe_exit
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from asyncdiff_operator.commands.view import EventView, JobView, PodView

MOST_PODS: Final = 12
MOST_EVENTS: Final = 5
_NOTHING: Final = "Nothing to do."
_STYLES: Final = {"Complete": "green", "Failed": "bold red", "Suspended": "yellow", "Running": "cyan"}
_LABEL_WIDTH: Final = 11


def describe(view: JobView, now: datetime) -> Group:
    """Gives everything there is to say of a job.

    Args:
        view: The job.
        now: Time of day, from which ages are counted.
    """
    parts: list[Text | Padding] = [headline(view, now)]
    parts += [
        Text.assemble((f"{name:<{_LABEL_WIDTH}}", "dim"), value) for name, value in rows(view.status, now)
    ]
    parts += [_condition(condition) for condition in conditions_that_matter(view)]
    if view.pods:
        parts.append(Padding(_pod_table(view.pods, now), (1, 0, 0, 0)))
    if view.events:
        parts.append(Padding(_event_table(view.events, now), (1, 0, 0, 0)))
    return Group(*parts)


def headline(view: JobView, now: datetime) -> Text:
    """Gives the line `team-a/posters  Running  for 3 min`."""
    phase = view.status.phase
    word = "Pending" if phase is None else str(phase)
    began = view.status.start_time or datetime.fromisoformat(view.manifest["metadata"]["creationTimestamp"])
    span = (view.status.completion_time or now) - began
    when = f"in {age(span)}" if view.ended else f"for {age(span)}"
    namespace = view.manifest["metadata"]["namespace"]
    return Text.assemble(
        (f"{namespace}/{view.name}", "bold"), "  ", (word, _STYLES.get(word, "")), (f"  {when}", "dim")
    )


def rows(status: JobStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Gives the rows of a job's state: name and value."""
    yield "items", items_of(status)
    if status.shards is not None and status.shards.total is not None:
        yield "shards", _shards(status)
    if speed := speed_of(status):
        yield "speed", speed
    if status.estimated_completion_time is not None and status.completion_time is None:
        left = status.estimated_completion_time - now
        yield "ready", f"in about {age(left)}, at {_clock(status.estimated_completion_time)}"
    if status.plan is not None and status.plan.strategy:
        yield "plan", _plan(status)
    if (resolved := status.resolved) is not None and resolved.image:
        yield "image", resolved.image
    if (output := status.output) is not None:
        yield from (
            (name, address)
            for name, address in (
                ("output", output.uri),
                ("manifest", output.manifest),
                ("gallery", output.gallery),
            )
            if address
        )


def items_of(status: JobStatus) -> str:
    """Gives `40 of 64 items done, 1 failed, 8 in work`."""
    items = status.items
    if items is None:
        return "not counted yet"
    counts = ItemCounts(
        total=items.total, done=items.done or 0, failed=items.failed or 0, rejected=items.rejected or 0
    )
    return f"{of_items(counts)}, {items.running:,} in work" if items.running else of_items(counts)


def speed_of(status: JobStatus) -> str:
    """Gives `2 items/s, 3.5 × one GPU; an item takes 1 s, one in twenty more than 1.5 s`."""
    speed = status.throughput
    if speed is None:
        return ""
    rates = []
    if speed.items_per_second:
        rates.append(rate(speed.items_per_second))
    if speed.speedup:
        rates.append(f"{speed.speedup:.3g} × one GPU")
    parts = [", ".join(rates)] if rates else []
    if (of := speed.seconds_per_item) is not None and of.p50 is not None:
        tail = f", one in twenty more than {seconds(of.p95)}" if of.p95 is not None else ""
        parts.append(f"an item takes {seconds(of.p50)}{tail}")
    return "; ".join(parts)


def conditions_that_matter(view: JobView) -> list[Condition]:
    """Gives the conditions that a person should read now: what hinders the job, or how it ended."""
    telling: dict[str, ConditionStatus] = {
        ConditionType.ACCEPTED: ConditionStatus.FALSE,
        ConditionType.COMPLETE: ConditionStatus.TRUE,
        ConditionType.FAILED: ConditionStatus.TRUE,
        ConditionType.SUSPENDED: ConditionStatus.TRUE,
        ConditionType.DEGRADED: ConditionStatus.TRUE,
        ConditionType.STALLED: ConditionStatus.TRUE,
    }
    if not view.ended and not view.holds(ConditionType.STARTED):
        telling[ConditionType.PROGRESSING] = ConditionStatus.FALSE
        telling[ConditionType.STARTED] = ConditionStatus.FALSE
    chosen = [each for each in view.status.conditions if telling.get(each.type) is each.status]
    return list({each.reason: each for each in reversed(chosen)}.values())[::-1]


def remedy_of(reason: str) -> str:
    """Gives what to do about a reason; empty where there is nothing, or where a newer operator has named it."""
    text = REASONS.get(Reason(reason)) if reason in tuple(Reason) else None
    return "" if text is None or text.remedy == _NOTHING else text.remedy


def _condition(condition: Condition) -> Text:
    good, remedy = condition.type == ConditionType.COMPLETE, remedy_of(condition.reason)
    text = Text.assemble(
        (f"{condition.type.lower():<{_LABEL_WIDTH}}", "green" if good else "red"),
        (f"{condition.reason}: ", "bold"),
        condition.message.removesuffix(remedy).rstrip(),  # many messages end with it
    )
    if remedy:
        text.append(f"\n{'':<{_LABEL_WIDTH}}{remedy}", "yellow")
    return text


def _shards(status: JobStatus) -> str:
    assert status.shards is not None
    shards = status.shards
    parts = [f"{shards.succeeded or 0:,} of {counted(shards.total or 0, 'shard')} done"]
    parts += [
        f"{number:,} {word}"
        for number, word in ((shards.running, "in work"), (shards.failed, "failed"))
        if number
    ]
    return ", ".join(parts)


def _plan(status: JobStatus) -> str:
    assert status.plan is not None
    plan = status.plan
    layout = [str(plan.strategy)]
    if (plan.stages or 1) > 1:
        layout.append(f"{plan.stages} ranks a sample")
    if (plan.data_parallel or 1) > 1:
        layout.append(f"{plan.data_parallel} samples at once")
    return f"{', '.join(layout)}{f' ({plan.reason})' if plan.reason else ''}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _pod_table(pods: tuple[PodView, ...], now: datetime) -> Table:
    """The pods that say most: those that live, then the ones that came last."""
    table = _table("POD", "SHARD", "STATE", "NODE", "AGE", "REPORT")
    chosen = sorted(pods, key=lambda pod: (pod.exit_code is None, pod.created_at))[-MOST_PODS:]
    for pod in reversed(chosen):
        shard = pod.step if pod.shard is None else str(pod.shard)
        cells = (pod.name, shard, pod.state, pod.node, age(now - pod.created_at), report_of(pod))
        table.add_row(*map(Text, cells))
    if left := len(pods) - len(chosen):
        table.add_row(Text(f"and {left} more", "dim"))
    return table


def report_of(pod: PodView) -> str:
    """Gives what a pod last said of its work."""
    if (progress := pod.progress) is not None:
        if (download := progress.download) is not None:
            return f"{progress.phase}: {of_bytes(download.received_bytes, download.total_bytes)} of the model fetched"
        busy = [rank for rank in progress.ranks if rank.evaluations]
        at = f"; evaluation {busy[0].evaluation} of {busy[0].evaluations}" if busy else ""
        return f"{progress.phase}: {of_items(progress.items)}{at}"
    if (result := pod.result) is not None:
        said = f"{result.reason}: {result.message}" if result.message else result.reason
        return f"{of_items(result.items)}; {said}"
    return describe_exit(pod.exit_code) if pod.exit_code else ""


def _event_table(events: tuple[EventView, ...], now: datetime) -> Table:
    table = _table("EVENT", "AGO", "")
    for event in events[-MOST_EVENTS:]:
        since = "" if event.at is None else age(now - event.at)
        times = f" (× {event.count})" if event.count > 1 else ""
        table.add_row(
            Text(event.reason, "red" if event.type == "Warning" else ""),
            Text(since),
            Text(f"{event.message}{times}"),
        )
    return table
