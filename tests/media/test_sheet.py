"""Contact sheets hold every picture, whole, with words that fit."""

from __future__ import annotations

import pytest
from asyncdiff_runtime.media import EncodingRefused
from asyncdiff_runtime.media.sheet import CELL, contact_sheet
from PIL import Image

COLOURS = ("red", "lime", "blue", "yellow", "magenta")


def colours_on(sheet: Image.Image) -> set[tuple[int, ...]]:
    colours = sheet.getcolors(sheet.width * sheet.height)
    assert colours
    return {colour for _, colour in colours if isinstance(colour, tuple)}


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
@pytest.mark.parametrize("size", [(64, 64), (512, 512), (1024, 256), (96, 800), (5000, 1)])
def test_every_picture_is_on_the_sheet(columns: int, size: tuple[int, int]) -> None:
    sheet = contact_sheet([Image.new("RGB", size, colour) for colour in COLOURS], columns, COLOURS)

    assert {Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in COLOURS} <= colours_on(sheet)


def test_small_pictures_are_enlarged_by_whole_factors_and_stay_sharp() -> None:
    picture = Image.new("RGB", (2, 1), "red")
    picture.putpixel((1, 0), (0, 0, 255))

    assert len(colours_on(contact_sheet([picture], 1))) == 3  # red, blue, ground


def test_pictures_of_different_shapes_share_a_sheet() -> None:
    sheet = contact_sheet([Image.new("RGB", (512, 256)), Image.new("L", (256, 512))], 2)

    assert sheet.height < 2 * CELL < sheet.width


@pytest.mark.parametrize(
    "caption", ["", "w" * 5000, "word " * 2000, "雪の中の狐 🦊", "\ud800\n\t", "a b " * 9]
)
def test_any_caption_fits(caption: str) -> None:
    picture = Image.new("RGB", (256, 256), "white")

    captioned, plain = (
        contact_sheet([picture] * 2, 2, [caption, ""]),
        contact_sheet([picture] * 2, 2, ["", ""]),
    )

    second = (256 + 2 * 16, 0, *plain.size)
    assert captioned.size == plain.size
    assert captioned.crop(second).tobytes() == plain.crop(second).tobytes()


@pytest.mark.parametrize(("images", "columns", "captions"), [(0, 1, None), (1, 0, None), (2, 2, ["one"])])
def test_nothing_to_show_is_refused(images: int, columns: int, captions: list[str] | None) -> None:
    with pytest.raises(EncodingRefused, match="wanted is"):
        contact_sheet([Image.new("RGB", (8, 8))] * images, columns, captions)
