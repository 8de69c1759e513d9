"""The reference of the operator: its options and its metrics."""

from __future__ import annotations

from asyncdiff_operator.metrics import JobMetrics, Metrics
from asyncdiff_operator.options import describe_options

from pages.markdown import code, page, table

_INTRODUCTION = """
`python -m asyncdiff_operator` runs one replica of the operator until SIGTERM. It ends with 0 when it was told to
stop, with 2 where an option is wrong, and with 1 where it cannot go on: without the resource definition, without
permissions, or without its Lease. The last line of its log says why.
"""
_OPTIONS = """
Each option is a flag, or a variable of the environment that the flag overrides. Lists are separated by commas.
"""
_PAGES = """
## Pages

| Address | Answer |
| --- | --- |
| `/healthz` | 200 while jobs are looked at and watches are asked for; else 503 with a line on what hangs |
| `/readyz` | 200 once the cache holds every job; replicas that do not lead are ready too |
| `/metrics` | the metrics below, as Prometheus reads them |
"""
_METRICS = """
Those of jobs add up the statuses of the jobs that exist now, by namespace, on every replica: use the leader's, or
the greatest.
"""
_LOGS = """
## Logs
One JSON object a line on standard error: `time`, `level`, `logger`, `message` and, where it is known, `namespace`,
`job`, `shard` and `trace_id`. The trace id is the job's uid without dashes; it is in the pods' logs and in the
metadata of each item too, so one search finds all that happened to a picture.
"""


def operator_page() -> str:
    """Gives the page on the operator."""
    options = [
        [
            f"{code(option.flag)}<br>{code(option.variable)}",
            option.default if option.default == "unset" else code(option.default),
            option.about,
        ]
        for option in describe_options()
    ]
    registry = Metrics().registry
    registry.register(JobMetrics(lambda: ()))
    metrics = [
        [code(_full_name(family.name, family.type)), family.type, family.documentation]
        for family in sorted(registry.collect(), key=lambda family: family.name)
    ]
    return page(
        "Operator",
        _INTRODUCTION,
        "## Options",
        _OPTIONS,
        table(["Flag, variable", "Default", "What it is"], options),
        _PAGES,
        "## Metrics",
        _METRICS,
        table(["Metric", "Type", "What it is"], metrics),
        _LOGS,
    )


def _full_name(name: str, kind: str) -> str:
    """Gives a metric's name as Prometheus shows it."""
    return f"{name}_total" if kind == "counter" else name
