"""From a pipeline's floats to pictures, and which pictures are refused."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asyncdiff_runtime.media.errors import PixelsRefused

RANGE_SLACK: Final = 1e-3
"""How far beyond 0 and 1 a value may lie before it is taken for one of another range, such as -1 to 1."""

BLANK_SPREAD: Final = 4
"""Difference of the brightest and the darkest pixel, of 255, up to which a channel counts as one colour.

A decoder that was given zeros or infinities paints one colour, give or take its own rounding.
"""


class Rejection(StrEnum):
    """Why a picture or video that was made is not accepted: `ItemRecord.reason`, with its message."""

    BLANK = "Blank"
    NOT_FINITE = "NotFinite"

    @property
    def message(self) -> str:
        """What was found, as a sentence: `ItemRecord.message`."""
        return _MESSAGES[self]


_MESSAGES: Final = {
    Rejection.BLANK: "every pixel has the same colour; try another seed, or a VAE in float32",
    Rejection.NOT_FINITE: (
        "the picture holds NaN or infinity; use dtype bfloat16 or float32, or a VAE made for float16"
    ),
}


def to_images(array: NDArray[np.floating]) -> tuple[Image.Image | Rejection, ...]:
    """Turns what a pipeline gives as `output_type="np"` into pictures, each sample for itself.

    Args:
        array: Pictures `(batch, height, width, 3)` with values from 0 to 1; for a video, its frames
            `(frames, height, width, 3)`.

    Returns:
        For each sample its picture, or `NOT_FINITE` where it holds NaN or infinity.

    Raises:
        PixelsRefused: The array has another shape, type or range.
    """
    if array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise PixelsRefused(
            f"the pipeline gave an array of shape {array.shape}; wanted is (batch, height, width, 3): "
            "pass output_type='np' to an image pipeline, and the frames of one video at a time"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise PixelsRefused(f"the pipeline gave values of type {array.dtype}; wanted are floats from 0 to 1")
    return tuple(_to_image(sample) for sample in array)


def accept(pictures: Image.Image | Sequence[Image.Image]) -> Rejection | None:
    """Gives the reason to reject a picture or a video, or None.

    A video is blank when all its frames are: one may well begin in black.

    Args:
        pictures: A picture, or the frames of a video.
    """
    frames = [pictures] if isinstance(pictures, Image.Image) else pictures
    return Rejection.BLANK if all(map(_is_blank, frames)) else None


def _to_image(sample: NDArray[np.floating]) -> Image.Image | Rejection:
    values = sample.astype(np.float32)
    if not np.isfinite(values).all():
        return Rejection.NOT_FINITE
    low, high = float(values.min()), float(values.max())
    if low < -RANGE_SLACK or high > 1 + RANGE_SLACK:
        raise PixelsRefused(
            f"the pipeline gave values from {low:.4g} to {high:.4g}; wanted are values from 0 to 1: "
            "undo its normalisation first"
        )
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def _is_blank(picture: Image.Image) -> bool:
    return all(high - low <= BLANK_SPREAD for low, high in _extrema(picture.convert("RGB")))


def _extrema(picture: Image.Image) -> list[tuple[int, int]]:
    histogram = picture.histogram()
    channels = [histogram[start : start + 256] for start in range(0, len(histogram), 256)]
    levels = [[level for level, count in enumerate(channel) if count] for channel in channels]
    return [(seen[0], seen[-1]) for seen in levels]
