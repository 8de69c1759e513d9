"""Scenes, their prompts and where things lie."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes.layout import EDGE, compose
from shapes.prompts import describe, parse
from shapes.scenes import HELD_OUT, Scene, SceneError, Thing, is_held_out, sample_scene

seeds = st.integers(0, 2**32)


def scene_of(seed: int, held_out: bool = False) -> Scene:
    return sample_scene(random.Random(seed), held_out=held_out)


@given(seeds)
def test_equal_seeds_give_equal_scenes_prompts_and_layouts(seed: int) -> None:
    def everything() -> tuple[object, ...]:
        rng = random.Random(seed)
        scene = sample_scene(rng)
        return scene, describe(scene, rng), compose(scene, rng)

    assert everything() == everything()


@given(seeds, st.booleans())
def test_a_prompt_reads_back_as_its_scene_in_any_wording(seed: int, held_out: bool) -> None:
    scene = scene_of(seed, held_out)
    assert parse(describe(scene)) == scene
    assert parse(describe(scene, random.Random(seed))) == scene


@given(seeds)
def test_no_scene_for_training_shows_a_held_out_combination(seed: int) -> None:
    assert not any(is_held_out(thing) for thing in scene_of(seed).things)


def test_one_combination_in_ten_is_held_out_and_every_shape_colour_and_texture_is_among_them() -> None:
    assert len(HELD_OUT) == pytest.approx(8 * 9 * 4 / 10, abs=2)
    for names in ({t.shape for t in HELD_OUT}, {t.texture for t in HELD_OUT}, {t.colour for t in HELD_OUT}):
        assert len(names) in (8, 4, 9)


@given(seeds)
def test_things_stay_in_the_picture_and_apart(seed: int) -> None:
    scene = scene_of(seed)
    things = compose(scene, random.Random(seed)).things
    for thing in things:
        assert max(abs(thing.x), abs(thing.y)) + thing.radius <= EDGE + 0.02
    if scene.layout != "inside":
        for a, b in itertools.combinations(things, 2):
            assert max(abs(a.x - b.x), abs(a.y - b.y)) > a.radius + b.radius


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("a red circle", Scene((Thing("circle", "red"),))),
        (
            "a big striped grey-ish red moon to the left of a tiny white star on a blue backdrop",
            Scene((Thing("crescent", "red", "striped", "large"), Thing("star", "white", size="small")),
                  "left of", "blue"),
        ),
        ("Pink hearts? A PINK HEART at the bottom right!", Scene((Thing("heart", "pink"),), "bottom right")),
        (
            "an orange ring on the right and a teal cross on the left",
            Scene((Thing("ring", "orange"), Thing("cross", "teal")), "right of"),
        ),
    ],
)  # fmt: skip
def test_plain_words_are_understood(prompt: str, scene: Scene) -> None:
    assert parse(prompt) == scene


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("a sunny afternoon", "no shape is named"),
        ("a large circle", "the circle has no colour"),
        ("a yellow ring on a yellow background", "a yellow ring cannot be seen"),
        ("a large red star inside a large blue ring", "only a small thing"),
        ("a row of a red star, a blue star, a pink star and a teal star", "found 4 things"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(prompt: str, complaint: str) -> None:
    with pytest.raises(SceneError, match=complaint):
        parse(prompt)
