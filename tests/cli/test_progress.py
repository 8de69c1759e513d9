"""What a run says of itself while it works."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import Download
from asyncdiff_runtime.batch.assignment import RankState
from asyncdiff_runtime.cli.progress import Moment, done_in_hand, is_news, phase_of, rank_line, watching
from rich.console import Console

WITHIN = Moment("Generating", 0, 6, evaluation="evaluation 5 of 28")
FETCHING = Moment("Loading", 0, 6, download=Download(received_bytes=7))


def states(*phases: str) -> dict[int, RankState]:
    return {rank: RankState(rank=rank, phase=phase) for rank, phase in enumerate(phases)}


@pytest.mark.parametrize(
    ("phases", "phase"),
    [
        ((), "Starting"),
        (("Loading", "Generating"), "Loading"),
        (("Generating", "Ended"), "Generating"),
        (("Generating", "Draining"), "Draining"),
        (("Ended", "Ended"), "Ended"),
        (("Dreaming",), "Starting"),
    ],
)
def test_the_phase_is_that_of_the_slowest_rank(phases: tuple[str, ...], phase: str) -> None:
    assert phase_of(states(*phases)) == phase


def test_a_rank_shows_item_evaluation_and_silence() -> None:
    state = RankState(
        rank=3,
        phase="Generating",
        running=2,
        item="0123456789abcdef01234567",
        evaluation=14,
        evaluations=28,
        heartbeat_age_seconds=63.0,
    )
    wanted = "rank 3  Generating  01234567 and 1 more  evaluation 14 of 28  silent for 1 min 3 s"
    assert rank_line(state) == wanted


def test_a_moment_tells_rate_and_time_left_where_they_are_known() -> None:
    assert Moment("Loading", 0, 6).words() == "0 of 6 items"
    assert Moment("Generating", 2, 6, 0.05).words() == "2 of 6 items, 3 items/min, 1 min 20 s left"
    assert Moment("Generating", 1200, None, 4.0).words() == "1,200 items, 4 items/s"


def test_a_long_item_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    at_work = states("Generating", "Generating")
    for rank in at_work:
        inside = {"running": 2, "evaluation": 15, "evaluations": 28, "items": ItemCounts()}
        at_work[rank] = at_work[rank].model_copy(update=inside)
    assert done_in_hand(at_work) == 2.0
    follower = at_work[1].model_copy(update={"items": None})
    assert done_in_hand({**at_work, 1: follower}) == 1.0
    with watching(Console(force_terminal=False, stderr=True), 6) as watch:
        watch(0, at_work)
    assert capsys.readouterr().err == "Generating: 0 of 6 items, evaluation 15 of 28\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_download_is_shown_in_bytes(terminal: bool) -> None:
    console, loading = Console(force_terminal=terminal, width=100, record=True), states("Loading", "Loading")
    come = Download(received_bytes=1_200_000_000, total_bytes=6_940_000_000)
    loading[1] = loading[1].model_copy(update={"download": come})
    with console.capture() as shown, watching(console, 6) as watch:
        watch(0, loading)
    assert "Fetching the model" in shown.get()
    assert "1.2 of 6.94 GB" in shown.get()


@pytest.mark.parametrize(
    ("told", "now", "age_seconds", "news"),
    [
        (Moment("", 0, 6), Moment("Starting", 0, 6), 0, True),
        (Moment("Loading", 0, 6), Moment("Generating", 0, 6), 0, True),
        (Moment("Generating", 0, 6), Moment("Generating", 1, 6), 1, False),
        (Moment("Generating", 0, 6), Moment("Generating", 1, 6), 11, True),
        (Moment("Generating", 5, 6), Moment("Generating", 6, 6), 1, True),
        (Moment("Generating", 3, 6), Moment("Generating", 3, 6), 60, False),
        (Moment("Generating", 6, 6), Moment("Ended", 6, 6), 1, False),
        (Moment("Generating", 0, 6), WITHIN, 29, False),
        (Moment("Generating", 0, 6), WITHIN, 31, True),
        (WITHIN, WITHIN, 3600, False),
        (Moment("Loading", 0, 6), FETCHING, 0, True),
        (FETCHING, replace(FETCHING, download=Download(received_bytes=8)), 9, False),
        (FETCHING, replace(FETCHING, download=Download(received_bytes=8)), 11, True),
        (FETCHING, Moment("Loading", 0, 6), 0, True),
    ],
)
def test_a_log_has_a_line_for_what_is_new_and_not_for_every_item(
    told: Moment, now: Moment, age_seconds: float, news: bool
) -> None:
    assert is_news(told, now, age_seconds) is news


@pytest.mark.parametrize("terminal", [True, False])
def test_both_ways_of_showing_say_phase_and_items(terminal: bool) -> None:
    console = Console(force_terminal=terminal, width=100, record=True, quiet=False)
    at_work = states("Generating", "Generating")
    at_work[0] = at_work[0].model_copy(update={"items": ItemCounts(done=2), "made": 2})
    with console.capture() as shown, watching(console, 6) as watch:
        watch(2, at_work)
    assert "Generating" in shown.get()
    assert "2 of 6 items" in shown.get()
    assert ("rank 1" in shown.get()) is terminal
