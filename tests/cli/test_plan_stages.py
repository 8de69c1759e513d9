"""`asyncdiff plan --stages` shows a denoiser in stages: tables, JSON and a page that stands by itself."""

from __future__ import annotations

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import AsyncStages, StageWeights
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.planning import stages as planning
from asyncdiff_runtime.cli import plan_stages
from asyncdiff_runtime.cli.plan import job_of
from asyncdiff_runtime.engine.graph.machines import machine
from asyncdiff_runtime.engine.stages.grid import parse
from asyncdiff_runtime.engine.stages.published import PUBLISHED
from support.command import run
from support.repository import ROOT

SDXL = ROOT / "tests" / "support" / "repositories" / "sdxl-base"


@pytest.fixture(scope="module")
def denoiser() -> planning.Denoiser:
    """SDXL at its own size, which takes a while to capture."""
    job, folder = job_of(str(SDXL), ["spec.model.dtype=float16"])
    assert folder is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about values that are none
        return _of(job, folder)


def _of(job: AsyncDiffJob, folder: Path) -> planning.Denoiser:
    return planning.denoiser_of(job, Places(volumes={"model": folder}), batch=1)


def plan_of(denoiser: planning.Denoiser, **wanted: Any) -> planning.StagePlan:
    return planning.stage_plan(denoiser, machine("H200"), AsyncStages(**wanted))


@pytest.fixture(scope="module")
def ours(denoiser: planning.Denoiser) -> dict[int, planning.StagePlan]:
    return {stages: plan_of(denoiser, stages=stages) for stages in (2, 4)}


def test_sdxl_is_cut_in_circles_of_balanced_stages(ours: dict[int, planning.StagePlan]) -> None:
    for stages, plan in ours.items():
        assert plan.circular
        assert max(plan.stage_seconds) <= 1.04 * sum(plan.stage_seconds) / stages
        assert 0.9 * stages <= plan.timing.speed_up <= stages
        assert plan.timing.bytes_per_evaluation <= 80e6
        assert plan.timing.schedule.evaluations == 50


def test_sharded_weights_are_spread_evenly(denoiser: planning.Denoiser) -> None:
    plan = plan_of(denoiser, stages=4, weights=StageWeights.SHARDED)
    whole = sum(weight.numel() * weight.element_size() for weight in denoiser.captured.weights.values())
    assert max(plan.weights) <= whole * (1 / 4 + 0.1)
    assert whole <= sum(plan.weights) <= 1.05 * whole
    assert max(plan.stage_seconds) <= 1.3 * sum(plan.stage_seconds) / 4


def test_with_a_stride_the_shell_has_the_smaller_share(denoiser: planning.Denoiser) -> None:
    shell, *others = plan_of(denoiser, stages=3, stride=2).stage_seconds
    assert shell == pytest.approx(sum((shell, *others)) / 5, rel=0.08)


def test_the_published_cuts_of_sdxl_are_circles_that_are_no_quicker_than_ours(
    denoiser: planning.Denoiser, ours: dict[int, planning.StagePlan]
) -> None:
    for stages, cut in PUBLISHED["SDXL"].items():
        published = plan_of(denoiser, stages=stages, cut=cut)
        assert published.circular
        assert all(begin.startswith(path) for begin, path in zip(published.begins[1:], cut, strict=True))
        if stages in ours:
            assert published.timing.seconds >= ours[stages].timing.seconds


class _Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_shows_the_circle_and_the_timetable_and_asks_no_host(
    ours: dict[int, planning.StagePlan],
) -> None:
    content = plan_stages.page([ours[4]])
    page = _Page(content)
    assert page.tags.count("svg") == 2
    assert "script" not in page.tags
    assert page.addresses == []
    assert "url(" not in content
    for words in ("in 4 stages", "shell, head", "began 4 evaluations ago", "prefers-color-scheme: dark"):
        assert words in content


def test_tables_fit_a_terminal_and_their_timetable_reads_back(
    ours: dict[int, planning.StagePlan], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    plan_stages.print_stages([ours[4]])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "4 stages, stride 1, 1 exact evaluation first" in shown
    grid = re.search(r"4 stages, 5 segments[^\n]+\n(?:\n|(?:tick|stage) .*\n)+", shown)
    assert grid is not None
    assert parse(grid[0]) == ours[4].opening


def test_the_command_writes_json_and_the_page(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    options = ("--gpu", "H200", "--stages", "2", "--warmup", "2", "--html", str(page), "--json")
    done = run("plan", "shapes-unet", *options)
    assert done.exit_code == 0, done.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    (plan,) = json.loads(done.output)["plans"]
    assert (plan["stages"], plan["warmupSteps"]) == (2, 2)
    assert parse(plan["schedule"]).digest() == plan["scheduleDigest"]
    assert plan["sequentialSeconds"] / plan["loopSeconds"] == pytest.approx(plan["speedUp"], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (["--html", "x.html"], "--html is about stages: say how many with --stages."),
        (["--stride", "2"], "--stride is about stages: say how many with --stages."),
        (["--stages", "3", "--cut", "mid_block"], "cut names 1 modules; stages=3 begin at 3"),
    ],
)
def test_what_asks_for_no_stages_is_refused_in_a_sentence(options: list[str], refusal: str) -> None:
    done = run("plan", "shapes-unet", *options)
    assert done.exit_code != 0
    assert refusal in re.sub(r"[\s│]+", " ", done.output)
