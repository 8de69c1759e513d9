"""Floats become pictures; broken and blank ones are told from dark ones."""

from __future__ import annotations

import numpy as np
import pytest
from asyncdiff_runtime.media import PixelsRefused, Rejection, accept, to_images
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image


def batch(samples: int = 2, size: tuple[int, int] = (8, 6)) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((samples, *size, 3), dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_the_nearest_bytes(dtype: type[np.floating]) -> None:
    levels = (np.arange(256) / 255).repeat(3).reshape(1, 16, 16, 3).astype(dtype)

    (picture,) = to_images(levels)

    assert isinstance(picture, Image.Image)
    assert (picture.size, picture.mode) == ((16, 16), "RGB")
    assert np.array_equal(np.asarray(picture)[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_rejected_alone(value: float) -> None:
    samples = batch(3)
    samples[1, 2, 3, 0] = value

    first, second, third = to_images(samples)

    assert isinstance(first, Image.Image)
    assert isinstance(third, Image.Image)
    assert second is Rejection.NOT_FINITE
    assert "NaN" in Rejection.NOT_FINITE.message


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (batch()[0], r"shape \(8, 6, 3\)"),
        (batch().transpose(0, 3, 1, 2), r"shape \(2, 3, 8, 6\)"),
        (np.zeros((0, 8, 8, 3), np.float32), r"shape \(0, 8, 8, 3\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), "type uint8"),
        (batch() * 2 - 1, "wanted are values from 0 to 1"),
        (batch() * 255, "wanted are values from 0 to 1"),
    ],
)
def test_what_is_no_picture_is_refused(array: NDArray[np.floating], words: str) -> None:
    with pytest.raises(PixelsRefused, match=words):
        to_images(array)


def test_rounding_beyond_the_range_is_clipped() -> None:
    (picture,) = to_images(np.full((1, 2, 2, 3), 1.0005, np.float32))

    assert isinstance(picture, Image.Image)
    assert picture.getpixel((0, 0)) == (255, 255, 255)


@settings(deadline=None)
@given(colour=st.tuples(*[st.integers(0, 251)] * 3), seed=st.integers(0, 99))
def test_one_colour_give_or_take_rounding_is_blank(colour: tuple[int, int, int], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 5, (16, 16, 3))
    picture = Image.fromarray((np.array(colour) + noise).astype(np.uint8))

    assert accept(picture) is Rejection.BLANK


@pytest.mark.parametrize("levels", [6, 30, 255])
def test_a_dark_picture_with_something_in_it_is_accepted(levels: int) -> None:
    picture = Image.new("RGB", (64, 64))
    picture.putpixel((3, 5), (0, levels, 0))

    assert accept(picture) is None


def test_a_video_is_blank_when_all_its_frames_are() -> None:
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    scene = Image.linear_gradient("L").convert("RGB")

    assert accept([black, black, white]) is Rejection.BLANK
    assert accept([black, scene, black]) is None
