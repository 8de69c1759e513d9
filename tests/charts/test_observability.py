"""Alerts fire when they should, alerts and dashboard speak of metrics that exist, and the runbook has every alert."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from asyncdiff_operator.metrics import JobMetrics, Metrics
from prometheus_client.exposition import generate_latest
from support.helm import CHART

FILES = CHART / "files"
REPOSITORY = CHART.parents[1]
WHEN_THEY_FIRE = Path(__file__).with_name("alerts.yaml")
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


def expressions() -> list[str]:
    """What the dashboard's panels ask, with a value for its variable."""
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [expression.replace("$namespace", "team-a") for expression in asked]


def check(promtool: Path, *arguments: str | Path) -> None:
    """Runs promtool, which must find nothing wrong."""
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_then_alone(promtool: Path) -> None:
    check(promtool, "check", "rules", "--lint=all", "--lint-fatal", FILES / "alerts.yaml")
    check(promtool, "test", "rules", WHEN_THEY_FIRE)
    assert set(re.findall(r'alertname="(\w+)"', WHEN_THEY_FIRE.read_text())) == {
        alert["alert"] for alert in alerts()
    }


def test_prometheus_understands_every_expression_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    check(promtool, "check", "rules", tmp_path / "rules.yaml")


def test_alerts_ask_for_metrics_that_exist() -> None:
    asked = {name for alert in alerts() for name in NAMES.findall(alert["expr"])}
    assert asked
    assert asked <= exported()


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    asked = {name for expression in expressions() for name in NAMES.findall(expression)}
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
