"""How a picture is brought to an item's size: scaled until it covers it, then cut around the middle."""

from __future__ import annotations

from typing import Final, NamedTuple

from PIL import Image

MULTIPLE: Final = 8
"""Sides of pictures are multiples of it, as `height` and `width` are."""


class Size(NamedTuple):
    """Pixels of a picture."""

    width: int
    height: int


def size_for(picture: Size, width: int | None, height: int | None) -> Size:
    """Gives the size to which a picture is brought.

    Args:
        picture: The picture's own size.
        width: The item's width; None where it names none.
        height: The item's height; None where it names none.

    Returns:
        The item's size. Where it names one side, the other follows from the picture's proportions; where it
        names none, the picture's own. Sides that nobody named become multiples of 8, and are never 0.
    """
    if width and height:
        return Size(width, height)
    if width:
        return Size(width, _multiple(width * picture.height / picture.width))
    if height:
        return Size(_multiple(height * picture.width / picture.height), height)
    return Size(_below(picture.width), _below(picture.height))


def fit(picture: Image.Image, size: Size) -> Image.Image:
    """Gives the picture in that size, its proportions kept: what overlaps is cut off on both sides alike."""
    if picture.size == size:
        return picture
    scale = max(size.width / picture.width, size.height / picture.height)
    wide, high = size.width / scale, size.height / scale
    left, top = (picture.width - wide) / 2, (picture.height - high) / 2
    box = (left, top, left + wide, top + high)
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _multiple(pixels: float) -> int:
    return max(MULTIPLE, round(pixels / MULTIPLE) * MULTIPLE)


def _below(pixels: int) -> int:
    return max(MULTIPLE, pixels // MULTIPLE * MULTIPLE)
