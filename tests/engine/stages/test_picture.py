"""Pictures of schedules and circles: well-formed, told in words too, and the same on every machine."""

import re
import runpy
from xml.etree import ElementTree

import pytest
from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead
from asyncdiff_runtime.engine.stages.picture import timetable, timetables
from asyncdiff_runtime.engine.stages.ring import ring
from asyncdiff_runtime.engine.stages.schedule import Schedule
from asyncdiff_runtime.engine.stages.timing import Flow, Link, SegmentCosts, Timing, timed
from hypothesis import given
from hypothesis import strategies as st
from support.repository import ROOT
from support.schedules import arbitrary, built, law

PICTURES = runpy.run_path(str(ROOT / "scripts" / "pictures.py"))["PICTURES"]
SVG = "{http://www.w3.org/2000/svg}"


def words_of(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def timing_of(schedule: Schedule, seconds: tuple[float, ...], *flows: Flow) -> Timing:
    return timed(schedule, SegmentCosts(seconds, flows), Link(1e9))


CIRCLE = timing_of(
    asyncdiff(2, 12),
    (0.001, 0.004, 0.003),
    Flow(0, frozenset({1}), 8_000_000),
    Flow(0, frozenset({2}), 90_000_000),
    Flow(1, frozenset({2}), 1_500_000),
)


@law
@given(st.one_of(built, arbitrary()), st.integers(6, 30))
def test_every_timetable_is_a_picture_with_a_title_a_description_and_no_script(
    schedule: Schedule, ticks: int
) -> None:
    picture = timetable(schedule, heading="All <stages> & ticks", ticks=ticks)
    root = ElementTree.fromstring(picture)
    named = (root.get("aria-labelledby") or "").split()
    assert [element.get("id") for element in (root[0], root[1])] == named
    assert root.get("role") == "img"
    assert root[0].text
    assert root[1].text
    assert not re.search(r"<script|\son\w+=|href|url\(", picture)
    assert picture == timetable(schedule, heading="All <stages> & ticks", ticks=ticks)


def test_a_timetable_shows_every_evaluation_of_every_stage() -> None:
    schedule = asyncdiff(3, 9)
    words = words_of(timetable(schedule))
    for evaluation in range(1, 9):
        assert words.count(str(evaluation)) == 3
    assert words.count("head") == words.count("tail") == 1
    assert "reads values two or more old" not in words
    assert "reads values two or more old" in words_of(timetable(asyncdiff(3, 9, stride=2)))
    assert "works on a foretold latent" in words_of(timetable(lookahead(3, 9)))


def test_a_long_timetable_leaves_out_its_middle() -> None:
    words = words_of(timetable(asyncdiff(2, 50), ticks=12))
    assert "⋯" in words
    assert "49" in words
    assert "30" not in words


def test_timetables_below_each_other_share_a_legend() -> None:
    picture = timetables(
        [("AsyncDiff", asyncdiff(2, 5)), ("Lookahead", lookahead(2, 5))],
        "Two ways",
        "Each in rows.",
        name="two",
    )
    words = words_of(picture)
    assert words.count("exact: nothing it reads is old") == 1
    assert {"AsyncDiff", "Lookahead"} <= set(words)


def test_a_ring_says_what_each_segment_takes_and_what_goes_to_another_stage() -> None:
    words = words_of(ring(CIRCLE, ["conv_in", "down_blocks.1", "up_blocks.1"]))
    assert {"shell, head", "shell, tail", "stage 1", "4.00 ms, 50 %", "from down_blocks.1"} <= set(words)
    assert {"8.0 MB", "1.5 MB"} <= set(words)
    assert "90.0 MB" not in words  # the shell hands it to itself


@pytest.mark.parametrize("stages", [1, 2, 5])
def test_words_of_a_ring_do_not_lie_on_each_other(stages: int) -> None:
    segments = stages + 1
    flows = [
        Flow(a, frozenset({b}), 1_000_000 * (a + b)) for a in range(segments) for b in range(a + 1, segments)
    ]
    picture = ring(timing_of(asyncdiff(stages, 6), (1.0,) * segments, *flows), ["begin"] * segments)
    places = [
        (float(element.get("x", 0)), float(element.get("y", 0)))
        for element in ElementTree.fromstring(picture).iter(f"{SVG}text")
        if "halo" in (element.get("class") or "")
    ]
    for at, (x, y) in enumerate(places):
        assert all(abs(x - a) >= 62 or abs(y - b) >= 16.9 for a, b in places[:at])


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_the_docs_are_what_is_drawn_today(name: str) -> None:
    drawn = PICTURES[name]()
    assert (ROOT / name).read_text(encoding="utf-8") == drawn, "run .venv/bin/python scripts/pictures.py"
