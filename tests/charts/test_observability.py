"""Alerts and dashboard speak of metrics that exist, and every alert has a section in the runbook."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from asyncdiff_operator.metrics import JobMetrics, Metrics
from prometheus_client.exposition import generate_latest
from support.helm import CHART

FILES = CHART / "files"
REPOSITORY = CHART.parents[1]
NAMES = re.compile(r"\basyncdiff_[a-z_]+")
JOB = {
    "metadata": {"namespace": "team-a"},
    "status": {"phase": "Running", "items": {"done": 1}, "throughput": {"gpuSeconds": {"idle": 1.0}}},
}


def exported() -> set[str]:
    """Every sample's name that an operator can export."""
    metrics = Metrics()
    metrics.registry.register(JobMetrics(lambda: [JOB]))
    metrics.api_calls.labels("get", "pods", "200").inc()
    metrics.api_seconds.labels("get").observe(1)
    metrics.retries.labels("Conflict").inc()
    page = generate_latest(metrics.registry).decode()
    return {NAMES.match(line)[0] for line in page.splitlines() if NAMES.match(line)}  # type: ignore[index]  # -- matched


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_exist() -> None:
    asked = {name for alert in alerts() for name in NAMES.findall(alert["expr"])}
    assert asked
    assert asked <= exported()


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in NAMES.findall(expression)}
    assert asked
    assert asked <= exported()


def test_the_dashboards_panels_do_not_cover_each_other() -> None:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_every_alert_has_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^#+ (\w+)$", (REPOSITORY / "docs/alerts.md").read_text(), re.MULTILINE)
    for alert in alerts():
        anchor = alert["annotations"]["runbook_url"].rpartition("#")[2]
        assert alert["alert"] in headings
        assert anchor == alert["alert"].lower()
