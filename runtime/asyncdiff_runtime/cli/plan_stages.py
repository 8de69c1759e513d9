"""`asyncdiff plan --stages`: a denoiser in stages, as tables, as JSON and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from asyncdiff_api.amounts import counted
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import AsyncStages, Strategy
from pydantic import JsonValue
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncdiff_runtime.batch.planning.stages import StagePlan

_MEGA: Final = 10**6
_GIGA: Final = 10**9
_PANEL: Final = "Stages"


@dataclass(frozen=True)
class StageOptions:
    """What may be asked of a plan in stages."""

    stages: Annotated[
        int | None,
        typer.Option(
            "--stages", min=1, max=16, help="Plan AsyncDiff's stages: this many.", rich_help_panel=_PANEL
        ),
    ] = None
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride", min=1, help="Evaluations between refreshes. Default: 1.", rich_help_panel=_PANEL
        ),
    ] = None
    warmup: Annotated[
        int | None,
        typer.Option(
            "--warmup", min=1, help="Exact evaluations at the start. Default: 1.", rich_help_panel=_PANEL
        ),
    ] = None
    cut: Annotated[
        list[str] | None,
        typer.Option(
            "--cut", metavar="MODULE", help="Where a stage begins; once for each.", rich_help_panel=_PANEL
        ),
    ] = None
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page with pictures of it.", rich_help_panel=_PANEL
        ),
    ] = None

    def wanted(self, job: AsyncDiffJob) -> AsyncStages | None:
        """Gives the stages that options and job ask for, their number filled in; None if they ask for none.

        Raises:
            typer.BadParameter: An option asks for something of stages, and nothing for stages.
        """
        parallelism = job.spec.parallelism
        asked = parallelism.strategy is Strategy.ASYNC_STAGES
        if self.stages is None and not asked:
            named = ("stride", "warmup", "cut", "html")
            if given := [name for name in named if getattr(self, name)]:
                raise typer.BadParameter(f"--{given[0]} is about stages: say how many with --stages.")
            return None
        of_job = (parallelism.async_stages if asked else None) or AsyncStages()
        changes = {
            "stages": self.stages or of_job.stages or parallelism.gpus_per_pod,
            "stride": self.stride,
            "warmup_steps": self.warmup,
            "cut": tuple(self.cut) if self.cut else None,
        }
        return of_job.model_copy(update={name: value for name, value in changes.items() if value is not None})


def print_stages(plans: Sequence[StagePlan]) -> None:
    """Prints the first machine's stages, the beginning of their timetable, and what all machines make of them."""
    from asyncdiff_runtime.engine.stages.grid import text

    plan = plans[0]
    out = Console(markup=False, highlight=False)
    rows = " and ".join(counted(rows, "row") for rows in plan.rows)
    evaluations = counted(plan.timing.schedule.evaluations, "evaluation")
    out.print(Text.assemble((plan.pipeline, "bold"), f", {plan.dtype}: {evaluations} of {rows}"))
    out.print(f"{counted(plan.timing.schedule.stages, 'stage')}, {_terms(plan)}\n")
    tables = [(f"Where it is cut, for {plan.machine.name}", _stages(plan))]
    if any(plan.received):
        tables.append(("What goes between stages at each evaluation", _flows(plan)))
    for title, table in tables:
        out.print(Text(title, style="bold"))
        out.print(table)
    out.print(Text(f"The first of {evaluations}", style="bold"))
    out.print(text(plan.opening, min(out.width, 100)), end="")
    out.print(Text("1' reads what is one evaluation old; a number alone is exact; · waits.\n", style="dim"))
    out.print(Text(f"Predicted, {counted(plan.timing.schedule.stages, 'GPU')}, compiled", style="bold"))
    out.print(_predictions(plans))
    for remark in remarks_of(plans):
        out.print(Text(remark, style="dim"))


def _terms(plan: StagePlan) -> str:
    wanted = plan.wanted
    terms = [f"stride {wanted.stride}", f"{counted(wanted.warmup_steps, 'exact evaluation')} first"]
    if wanted.exact_tail_steps:
        terms.append(f"{wanted.exact_tail_steps} last")
    return ", ".join(terms)


def name_of(plan: StagePlan, segment: int) -> str:
    """Gives what a segment is called: its stage, and in a circle which part of the shell."""
    schedule = plan.timing.schedule
    if plan.circular and segment in (0, schedule.segments - 1):
        return "shell, head" if segment == 0 else "shell, tail"
    return f"stage {schedule.stage_of(segment)}" if schedule.stages > 1 else f"part {segment}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _stages(plan: StagePlan) -> Table:
    table = _table("part", "ms", "share", "weights, GB", "begins with")
    table.columns[4].justify = "left"
    seconds = plan.timing.costs.seconds
    for segment, spent in enumerate(seconds):
        share = f"{100 * spent / sum(seconds):.1f} %"
        held = f"{plan.weights[segment] / _GIGA:.2f}" if segment < len(plan.weights) else "↑"
        table.add_row(name_of(plan, segment), f"{1e3 * spent:.2f}", share, held, plan.begins[segment])
    return table


def _flows(plan: StagePlan) -> Table:
    table = _table("from", "to", "MB")
    table.columns[1].justify = "left"
    for source, target, count in plan.timing.between_stages:
        table.add_row(name_of(plan, source), name_of(plan, target), _mega(count))
    if plan.timing.schedule.stages > 1:
        others = plan.timing.schedule.stages - 1
        prediction = plan.timing.costs.prediction_bytes * others
        table.add_row("prediction", "all stages", _mega(prediction))
    return table


def _predictions(plans: Sequence[StagePlan]) -> Table:
    table = _table("GPU", "one GPU", "in stages", "faster", "balance", "MB an evaluation")
    for plan in plans:
        timing = plan.timing
        table.add_row(
            plan.machine.name,
            f"{timing.sequential_seconds:.3f} s",
            f"{timing.seconds:.3f} s",
            f"{timing.speed_up:.2f} ×",
            f"{100 * timing.balance:.0f} %",
            _mega(timing.bytes_per_evaluation),
        )
    return table


def remarks_of(plans: Sequence[StagePlan]) -> list[str]:
    """Gives what has to be said of the figures."""
    return [
        (
            "Seconds are of the denoising loop alone, without what follows from prompt and timestep. They rest on "
            "measurements on an H200; elsewhere they may be off by half."
        ),
        "In stages the picture is not the sequential one: see the page on the engine for how far it is off.",
        *plans[0].remarks,
    ]


def as_json(plans: Sequence[StagePlan]) -> JsonValue:
    """Gives plans as JSON."""
    return {"plans": [_plan_as_json(plan) for plan in plans], "remarks": list(remarks_of(plans))}


def _plan_as_json(plan: StagePlan) -> JsonValue:
    from asyncdiff_runtime.engine.stages.grid import text

    timing, schedule = plan.timing, plan.timing.schedule
    return {
        "pipeline": plan.pipeline,
        "dtype": plan.dtype,
        "rows": list(plan.rows),
        "gpu": plan.machine.name,
        "stages": schedule.stages,
        "stride": plan.wanted.stride,
        "warmupSteps": plan.wanted.warmup_steps,
        "exactTailSteps": plan.wanted.exact_tail_steps,
        "circular": plan.circular,
        "weightBytes": list(plan.weights),
        "evaluations": schedule.evaluations,
        "segments": [
            {
                "stage": schedule.stage_of(segment),
                "beginsWith": plan.begins[segment],
                "seconds": round(spent, 7),
            }
            for segment, spent in enumerate(timing.costs.seconds)
        ],
        "flows": [
            {"from": source, "to": target, "bytes": count}
            for source, target, count in plan.timing.between_stages
        ],
        "loopSeconds": round(timing.seconds, 6),
        "sequentialSeconds": round(timing.sequential_seconds, 6),
        "speedUp": round(timing.speed_up, 4),
        "balance": round(timing.balance, 4),
        "bytesPerEvaluation": round(timing.bytes_per_evaluation),
        "staleShare": round(timing.stale_share, 4),
        "schedule": text(schedule, 120),
        "scheduleDigest": schedule.digest(),
    }


def page(plans: Sequence[StagePlan]) -> str:
    """Gives a page that shows and explains the first plan, and compares the machines; it asks no other host."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    from asyncdiff_runtime.engine.stages.drawing import colour_of
    from asyncdiff_runtime.engine.stages.grid import text
    from asyncdiff_runtime.engine.stages.picture import timetable
    from asyncdiff_runtime.engine.stages.ring import milliseconds, ring
    from asyncdiff_runtime.engine.stages.schedule import Value
    from asyncdiff_runtime.engine.stages.timing import reach

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"mega": _mega, "ms": milliseconds, "colour": colour_of}
    environment.filters["breakable"] = lambda path: Markup(".<wbr>").join(map(escape, path.split(".")))
    plan = plans[0]
    schedule, costs = plan.timing.schedule, plan.timing.costs
    last = schedule.evaluations - plan.wanted.exact_tail_steps - 1
    reached = reach(schedule, costs)[Value(0, schedule.segments - 1, last)]
    names = [name_of(plan, segment) for segment in range(schedule.segments)]
    return environment.from_string(_template()).render(
        plan=plan,
        plans=plans,
        timing=plan.timing,
        schedule=schedule,
        costs=costs,
        names=names,
        terms=_terms(plan),
        ring=Markup(ring(plan.timing, plan.begins)),  # noqa: S704 -- it escapes what it is given
        timetable=Markup(timetable(schedule)),  # noqa: S704 -- it is made of numbers
        flows=plan.timing.between_stages,
        stale=_stale(plan, last, names),
        span=last - reached.start,
        newest=reached.stop - 1,
        most=1 + plan.wanted.stride * (schedule.stages - 1),
        last=last,
        grid=text(schedule, 96),
        remarks=remarks_of(plans),
    )


def write_page(path: Path, content: str) -> None:
    """Writes a page.

    Raises:
        InvalidJobError: It cannot be written there.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InvalidJobError(f"--html {path}: the page cannot be written: {error.strerror}") from error


def _stale(plan: StagePlan, evaluation: int, names: Sequence[str]) -> list[tuple[str, list[tuple[str, int]]]]:
    """What each segment reads at an evaluation, and how old it is; a segment at rest is left out."""
    joined = plan.timing.costs.joined
    return [
        (
            names[cell.segment],
            [
                (names[segment], age)
                for segment, age in enumerate(cell.ages)
                if (segment, cell.segment) in joined
            ],
        )
        for _, _, cell in sorted(plan.timing.schedule.work, key=lambda work: work.cell.segment)
        if cell.evaluation == evaluation
    ]


def _template() -> str:
    return (resources.files("asyncdiff_runtime.cli") / "pages" / "stages.html").read_text(encoding="utf-8")


def _mega(count: float) -> str:
    mega = count / _MEGA
    return f"{mega:.1f}" if mega >= 10 else f"{mega:.2f}" if mega >= 0.1 else f"{mega:.3f}"
