"""The reader sees what was drawn, and the score says whether it is what was asked for."""

import random

import pytest
import torch
from shapes.drawing import Sheet, draw
from shapes.layout import compose
from shapes.prompts import parse
from shapes.reader import Reader, connected
from shapes.reading import spoil
from shapes.scenes import Scene, sample_scene
from shapes.scoring import average, score


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load()


def drawn(scenes: list[Scene], seed: int = 0) -> torch.Tensor:
    rng = random.Random(seed)
    compositions = [compose(scene, rng) for scene in scenes]
    return draw(Sheet.of(compositions), generator=torch.Generator().manual_seed(seed)).pictures


def scenes_of(count: int, *, held_out: bool) -> list[Scene]:
    rng = random.Random(20)
    return [sample_scene(rng, held_out=held_out) for _ in range(count)]


@pytest.mark.parametrize("held_out", [False, True])
def test_drawn_scenes_are_read_without_a_mistake(reader: Reader, held_out: bool) -> None:
    scenes = scenes_of(64, held_out=held_out)
    readings = reader.read(drawn(scenes))
    scores = [score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
    assert average(scores) == dict.fromkeys(average(scores), pytest.approx(1))


def test_blurred_and_noisy_pictures_are_still_read(reader: Reader) -> None:
    scenes = scenes_of(48, held_out=False)
    torch.manual_seed(0)
    readings = reader.read(spoil(drawn(scenes)))
    scores = [score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
    assert average(scores)["faithful"] > 0.95


def test_drawing_again_gives_the_same_pixels() -> None:
    scenes = scenes_of(8, held_out=False)
    assert torch.equal(drawn(scenes), drawn(scenes))


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        ("a large red circle left of a small blue star on a green background", {}),
        ("a small blue star right of a large red circle on a green background", {}),
        ("a large red circle and a small blue star", {}),
        ("a large red circle right of a small blue star on a green background", {"layout": 0}),
        ("a large red heart left of a small blue star on a green background", {"shape": 0.5}),
        ("a large teal circle left of a small blue star on a green background", {"colour": 0.5}),
        ("a large red circle left of a large blue star on a green background", {"size": 0.5}),
        ("a large red striped circle left of a small blue star on a green background", {"texture": 0.5}),
        ("a large red circle left of a small blue star on a pink background", {"background": 0}),
    ],
)
def test_the_score_names_what_is_wrong(reader: Reader, asked: str, share: dict[str, float]) -> None:
    shown = parse("a large red circle left of a small blue star on a green background")
    result = average([score(parse(asked), reader.read(drawn([shown]))[0])])
    right = dict.fromkeys(result, 1.0)
    assert result == pytest.approx(right | share | ({"faithful": 0} if share else {}))


def test_a_missing_thing_costs_its_share(reader: Reader) -> None:
    shown = parse("a large red circle on a green background")
    asked = parse("a large red circle left of a small blue star on a green background")
    result = score(asked, reader.read(drawn([shown]))[0])
    assert (result.count, result.layout, result.shape) == (0, 0, 0.5)


def test_an_empty_picture_shows_nothing(reader: Reader) -> None:
    grey = torch.full((1, 3, 128, 128), 0.55)
    assert reader.read(grey)[0].seen == ()


def test_distance_is_zero_for_the_same_picture_and_grows_with_what_differs(reader: Reader) -> None:
    circle, other_tone, star = (
        drawn([parse(f"a {words} in the center on a blue background")], seed)
        for words, seed in (("large red circle", 0), ("large red circle", 1), ("small white star", 0))
    )
    same, near, far = (float(reader.distance(circle, other)) for other in (circle, other_tone, star))
    assert same == 0
    assert same < near < far


def test_components_are_joined_by_edges_not_by_corners() -> None:
    mask = torch.tensor([[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]]], dtype=torch.bool)
    labels = connected(mask)[0]
    assert len(labels[labels > 0].unique()) == 3
    assert labels[0, 0] == labels[1, 1] != labels[2, 2]
    assert labels[2, 2] == labels[3, 3]
    assert (labels[~mask[0]] == 0).all()
