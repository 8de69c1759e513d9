"""The contact sheet: many pictures on one, each with its words below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from asyncdiff_runtime.media.errors import EncodingRefused

CELL: Final = 256
"""Longest side of a picture on the sheet, in pixels."""

_GAP: Final = 16
_FONT_SIZE: Final = 15
_LINE: Final = 20
_LINES: Final = 2
_GROUND: Final = (250, 250, 249)
_INK: Final = (70, 68, 64)
_ELLIPSIS: Final = "…"
_MAX_CHARACTERS: Final = 400

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    images: Sequence[Image.Image], columns: int, captions: Sequence[str] | None = None
) -> Image.Image:
    """Gives a sheet with pictures in rows, each shrunk to its cell, of up to two lines of caption.

    Cells take the shape of the largest picture; pictures smaller than a cell are enlarged by whole factors,
    so that their pixels stay sharp.

    Args:
        images: At least one picture; of a video, one of its frames.
        columns: Pictures in a row, at least 1; fewer pictures take fewer columns.
        captions: One for each picture, or None for none.

    Raises:
        EncodingRefused: There is no picture or column, or another number of captions than pictures.
    """
    if not images or columns < 1:
        raise EncodingRefused(
            f"a contact sheet of {len(images)} pictures in {columns} columns was asked for; wanted is at "
            "least one of each"
        )
    if captions is not None and len(captions) != len(images):
        raise EncodingRefused(
            f"there are {len(captions)} captions for {len(images)} pictures; wanted is one each"
        )
    columns = min(columns, len(images))
    thumbnails = [fitted(image) for image in images]
    width = max(thumbnail.width for thumbnail in thumbnails)
    height = max(thumbnail.height for thumbnail in thumbnails)
    words = 0 if captions is None else _LINES * _LINE + _GAP // 2
    rows = -(-len(images) // columns)
    size = columns * (width + _GAP) + _GAP, rows * (height + words + _GAP) + _GAP
    sheet = Image.new("RGB", size, _GROUND)
    font = ImageFont.load_default(_FONT_SIZE)
    draw = ImageDraw.Draw(sheet)
    for place, thumbnail in enumerate(thumbnails):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (width + _GAP), _GAP + row * (height + words + _GAP)
        sheet.paste(
            thumbnail, (left + (width - thumbnail.width) // 2, top + (height - thumbnail.height) // 2)
        )
        if captions is not None:
            for number, line in enumerate(_lines(captions[place], font, width)):
                draw.text((left, top + height + _GAP // 2 + number * _LINE), line, _INK, font)
    return sheet


def fitted(image: Image.Image) -> Image.Image:
    """Gives a picture as large as it is on the sheet; what is so already stays as it is."""
    picture = image.convert("RGB")
    longest = max(picture.size)
    if longest <= CELL:
        factor = CELL // longest
        size = picture.width * factor, picture.height * factor
        return picture.resize(size, Image.Resampling.NEAREST)
    return picture.resize(
        (max(1, picture.width * CELL // longest), max(1, picture.height * CELL // longest)),
        Image.Resampling.LANCZOS,
    )


def _lines(caption: str, font: Font, width: int) -> list[str]:
    """Breaks a caption into lines that fit, at spaces where it can; what does not fit ends with an ellipsis."""
    words = caption.encode(errors="replace").decode()[:_MAX_CHARACTERS].split()
    lines: list[str] = []
    while words and len(lines) < _LINES:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        line = " ".join(words[:count])
        last = len(lines) == _LINES - 1 and count < len(words)
        lines.append(_cut(line + _ELLIPSIS * last, font, width))
        words = words[count:]
    return lines


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = line.removesuffix(_ELLIPSIS)
    while kept and font.getlength(kept + _ELLIPSIS) > width:
        kept = kept[:-1]
    return kept.rstrip() + _ELLIPSIS
