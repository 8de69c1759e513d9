"""A plan as tables for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncdiff_api.amounts import counted
from pydantic import JsonValue
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from asyncdiff_runtime.batch.planning import Figures, Forecast
    from asyncdiff_runtime.engine.graph.cost import Cost
    from asyncdiff_runtime.engine.graph.roofline import Span

_TERA: Final = 10**12
_GIGA: Final = 10**9
_MEGA: Final = 10**6
_LEAST_SHARE: Final = 0.002
"""Of an evaluation's arithmetic or traffic; modules below it are one row together."""
_MOST_MODULES: Final = 24
"""Rows of the table of modules."""
_WORDS: Final = {
    "WEIGHTS": "weights alone",
    "GENERATION": "prompt and size",
    "EVALUATION": "timestep",
    "LATENT": "latent",
}


def print_tables(figures: Figures, forecasts: Sequence[Forecast]) -> None:
    """Prints a plan."""
    out = Console(markup=False, highlight=False)
    evaluations = counted(figures.evaluations, "evaluation")
    rows = " and ".join(counted(rows, "row") for rows in figures.rows)
    out.print(
        Text.assemble(
            (figures.pipeline, "bold"),
            f", {figures.dtype}: {counted(figures.batch, 'item')} a batch, {evaluations} of {rows}\n",
        )
    )
    for table in (
        _classes(figures),
        _modules(figures),
        _memory(figures, forecasts),
        _times(forecasts),
    ):
        out.print(table)
        out.print()
    for remark in _remarks(figures, forecasts):
        out.print(Text(remark, style="dim"))


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is words and whose others are numbers; all of ours fit 80 columns."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _classes(figures: Figures) -> Table:
    whole = _sum(figures.by_dependence.values())
    units = _Units.of(whole)
    table = _table(
        "One evaluation, by what it depends on", "depends on", "operations", *units.columns, "MB to keep"
    )
    for dependence, cost in figures.by_dependence.items():
        kept = figures.held_bytes.get(dependence)
        count, held = (
            f"{figures.operations[dependence]:,}",
            _three(kept / _MEGA) if kept is not None else "",
        )
        table.add_row(_WORDS[dependence.name], count, *units.amounts(cost), held)
    table.add_section()
    whole_kept = _three(sum(figures.held_bytes.values()) / _MEGA)
    table.add_row("all", f"{sum(figures.operations.values()):,}", *units.amounts(whole), whole_kept)
    return table


def _modules(figures: Figures) -> Table:
    modules = _coarse(figures.by_module)
    whole = _sum(modules.values())
    units = _Units.of(whole)
    table = _table("One evaluation, by module", "module", *units.columns)
    large = sorted(modules.items(), key=lambda entry: _part(entry[1], whole), reverse=True)
    shown = {name for name, cost in large[:_MOST_MODULES] if _part(cost, whole) >= _LEAST_SHARE}
    for name, cost in modules.items():
        if name in shown:
            table.add_row(name, *units.amounts(cost))
    if rest := [cost for name, cost in modules.items() if name not in shown]:
        table.add_row(Text(f"{len(rest)} smaller", style="dim"), *units.amounts(_sum(rest)))
    return table


def _coarse(modules: Mapping[str, Cost]) -> dict[str, Cost]:
    """Costs by the first name of each path."""
    names: dict[str, list[Cost]] = {}
    for path, cost in modules.items():
        names.setdefault(path.partition(".")[0], []).append(cost)
    return {name: _sum(costs) for name, costs in names.items()}


def _part(cost: Cost, whole: Cost) -> float:
    """What part of the whole a cost is, in arithmetic or traffic, whichever is more."""
    return max(cost.flops / max(1, whole.flops), cost.bytes / max(1, whole.bytes))


@dataclass(frozen=True)
class _Units:
    """Units in which a table's numbers have a few digits, and the whole that shares are of."""

    whole: Cost
    flops: int
    bytes: int

    @classmethod
    def of(cls, whole: Cost) -> _Units:
        return cls(
            whole,
            _TERA if whole.flops >= _TERA else _GIGA,
            _GIGA if whole.bytes >= _GIGA else _MEGA,
        )

    @property
    def columns(self) -> tuple[str, str, str]:
        """Heads of the columns of `amounts`."""
        return (
            "TFLOP" if self.flops == _TERA else "GFLOP",
            "share",
            "GB moved" if self.bytes == _GIGA else "MB moved",
        )

    def amounts(self, cost: Cost) -> tuple[str, str, str]:
        """A row's cells."""
        share = 100 * cost.flops / max(1, self.whole.flops)
        return _three(cost.flops / self.flops), f"{share:.1f} %", _three(cost.bytes / self.bytes)


def _memory(figures: Figures, forecasts: Sequence[Forecast]) -> Table:
    table = _table("Memory of a GPU", "what", "GB", "parameters")
    for name, size in figures.weights.items():
        table.add_row(name, _three(size / _GIGA), _count(figures.parameters[name]))
    table.add_section()
    table.add_row(
        "weights", _three(sum(figures.weights.values()) / _GIGA), _count(sum(figures.parameters.values()))
    )
    peaks = {
        "encoding, at its peak": figures.before.peak_bytes,
        "an evaluation, at its peak": max(branch.peak_bytes for branch in figures.branches),
        "decoding, at its peak": figures.after.peak_bytes,
    }
    for name, size in peaks.items():
        table.add_row(name, _three(size / _GIGA), "")
    most = max((one.weights_bytes + one.working_bytes for one in forecasts), default=0)
    table.add_section()
    table.add_row("needed, CUDA's own included", _three(most / _GIGA), "")
    return table


def _times(forecasts: Sequence[Forecast]) -> Table:
    title = f"Predicted seconds, {counted(forecasts[0].way.ranks, 'GPU')} a pod"
    table = _table(title, "strategy", "kernels", "loop", "in all", "range", "items/h")
    table.columns[1].justify = "left"
    before = ""
    for one in forecasts:
        name = one.machine.name
        if name != before:
            table.add_section()
            table.add_row(Text(f"{name}, {one.machine.memory_bytes / _GIGA:.0f} GB", style="bold"))
        mark, idle = "▸" if one.way.chosen else " ", f", {one.idle} idle" if one.idle else ""
        cells = [f"{mark} {one.way.name}{idle}", one.way.kernels, *_seconds(one)]
        table.add_row(*cells, style="bold" if one.way.chosen else None)
        before = name
    return table


def _seconds(one: Forecast) -> list[str]:
    if not one.fits:
        return ["", "", f"needs {_three((one.weights_bytes + one.working_bytes) / _GIGA)} GB", ""]
    span = one.seconds
    return [
        _three(one.loop.expected),
        _three(span.expected),
        f"{_three(span.low)} – {_three(span.high)}",
        f"{one.items_per_hour:,.0f}",
    ]


def _remarks(figures: Figures, forecasts: Sequence[Forecast]) -> Iterable[str]:
    batch = f"a batch of {figures.batch}" if figures.batch > 1 else "one item"
    yield (
        f"Seconds are for {batch}, from prompt to pixels. They rest on measurements on an H200 alone; the range says "
        "how far off they may be."
    )
    gains = {one.machine.name: one.gain for one in forecasts}
    yield (
        "With compile: Captured, what depends on weights, prompt and size leaves the loop: an evaluation is "
        f"{' and '.join(_gains(gains))} as fast as by compiled modules."
    )
    if any("Lookahead" in one.way.name for one in forecasts):
        if figures.foreseeable:
            yield (
                "Lookahead is predicted with every foretold evaluation accepted; its range reaches to where none is."
            )
        else:
            yield "This scheduler's evaluations cannot be foretold: lookahead gains nothing over Exact."
    if any(one.way.name.startswith("Exact") and one.way.ranks > 1 for one in forecasts):
        yield "Exact is to be had from Python: parallelize(pipe, Exact())."
    yield from figures.remarks


def _gains(gains: Mapping[str, float]) -> Iterable[str]:
    """The smallest and the largest, with where."""
    ends = (min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__))
    return (f"{gains[name]:.3f} × ({name})" for name in dict.fromkeys(ends))


def as_json(figures: Figures, forecasts: Sequence[Forecast]) -> JsonValue:
    """Gives a plan as JSON."""
    return {
        "pipeline": figures.pipeline,
        "dtype": figures.dtype,
        "batch": figures.batch,
        "evaluations": figures.evaluations,
        "rows": list(figures.rows),
        "evaluation": {
            **_cost(_sum(figures.by_dependence.values())),
            "byDependence": {
                dependence.name.lower(): {"operations": figures.operations[dependence], **_cost(cost)}
                for dependence, cost in figures.by_dependence.items()
            },
            "byModule": {name: _cost(cost) for name, cost in figures.by_module.items()},
            "peakBytes": max(branch.peak_bytes for branch in figures.branches),
        },
        "hoisting": {
            "heldBytes": {kind.name.lower(): size for kind, size in figures.held_bytes.items()},
            "leftFlops": _sum(cost for branch in figures.branches for cost in branch.left).flops,
            "leftKernels": sum(len(branch.left) for branch in figures.branches),
            "kernels": sum(len(branch.kernels) for branch in figures.branches),
            "gain": {one.machine.name: round(one.gain, 4) for one in forecasts},
        },
        "encoding": {**_cost(_sum(figures.before.operations)), "peakBytes": figures.before.peak_bytes},
        "decoding": {**_cost(_sum(figures.after.operations)), "peakBytes": figures.after.peak_bytes},
        "weights": {
            name: {"parameters": figures.parameters[name], "bytes": size}
            for name, size in figures.weights.items()
        },
        "forecasts": [_forecast(one) for one in forecasts],
        "remarks": list(_remarks(figures, forecasts)),
    }


def _forecast(one: Forecast) -> JsonValue:
    return {
        "gpu": one.machine.name,
        "gpus": one.way.ranks,
        "strategy": one.way.name,
        "chosen": one.way.chosen,
        "compiled": one.way.evaluation.compiles,
        "captured": one.way.captured,
        "criticalPath": one.evaluations,
        "idleGpus": one.idle,
        "encodingSeconds": _span(one.before),
        "loopSeconds": _span(one.loop),
        "decodingSeconds": _span(one.after),
        "seconds": _span(one.seconds),
        "itemsPerHour": round(one.items_per_hour, 1),
        "weightsBytes": one.weights_bytes,
        "workingBytes": one.working_bytes,
        "memoryBytes": one.machine.memory_bytes,
        "fits": one.fits,
    }


def _span(span: Span) -> JsonValue:
    return {name: round(getattr(span, name), 5) for name in ("low", "expected", "high")}


def _cost(cost: Cost) -> dict[str, JsonValue]:
    return {"flops": cost.flops, "bytes": cost.bytes}


def _sum(costs: Iterable[Cost]) -> Cost:
    from asyncdiff_runtime.engine.graph.cost import total

    return total(costs)


def _count(number: int) -> str:
    return f"{number / _GIGA:.2f} B" if number >= _GIGA else f"{number / _MEGA:.1f} M"


def _three(value: float) -> str:
    """Gives a number with three digits that count."""
    if value >= 100 or not value:
        return f"{value:,.0f}"
    digits = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"
