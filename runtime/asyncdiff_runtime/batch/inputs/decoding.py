"""From bytes to pictures and frames, within limits: an input may be made to be small and unfold large."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Final

import av
import numpy as np
from asyncdiff_api.formats.errors import InputRefusedError
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS: Final = 2**26
"""Pixels of a picture, or of one frame: 8192 × 8192."""
MOST_FRAMES: Final = 2048
MOST_VIDEO_PIXELS: Final = 2**30
"""Pixels of all frames of a video: 3 GiB of memory."""
FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What pictures are read from; Pillow also knows formats that start other programs."""

_SIXTEEN_BITS: Final = ("I", "I;16", "I;16B", "I;16L")


def decode_picture(data: bytes, name: str) -> Image.Image:
    """Gives a picture as RGB, upright as its EXIF orientation says, over white where it is transparent.

    Args:
        data: The file; of several frames the first is taken.
        name: Its address, for messages.

    Raises:
        InputRefusedError: It is no picture, is cut short, or has too many pixels.
    """
    picture = _open(data, name)
    if picture.mode in _SIXTEEN_BITS:
        return Image.fromarray((np.asarray(picture) // 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        visible = picture.convert("RGBA")
        white = Image.new("RGBA", visible.size, "white")
        return Image.alpha_composite(white, visible).convert("RGB")
    return picture.convert("RGB")


def decode_mask(data: bytes, name: str) -> Image.Image:
    """Gives a mask as grey levels, white where the picture is painted anew; raises as `decode_picture`.

    A mask that says so by transparency alone counts as white where it is opaque.
    """
    picture = _open(data, name)
    if picture.mode in {"LA", "RGBA"} and _is_plain(picture):
        return picture.getchannel("A")
    return decode_picture(data, name).convert("L")


def decode_video(data: bytes, name: str, frames: int | None = None) -> list[Image.Image]:
    """Gives the frames of a video, or of an animated picture, as RGB.

    Args:
        data: The file.
        name: Its address, for messages.
        frames: Frames that are wanted; None for all.

    Raises:
        InputRefusedError: It is no video, has no frame, fewer frames than wanted, or too many pixels.
    """
    found: list[Image.Image] = []
    try:
        for picture in _frames(data):
            pixels = picture.width * picture.height
            if (
                pixels > MOST_PIXELS
                or pixels * (len(found) + 1) > MOST_VIDEO_PIXELS
                or len(found) >= MOST_FRAMES
            ):
                raise InputRefusedError(
                    f"{name} has more than {MOST_FRAMES} frames or {MOST_VIDEO_PIXELS} pixels; make it shorter or "
                    "smaller, or set frames"
                )
            found.append(picture)
            if len(found) == frames:
                break
    except (av.FFmpegError, ValueError) as error:
        raise InputRefusedError(
            f"{name} cannot be decoded as a video ({error}); write it again as MP4"
        ) from error
    if not found or len(found) < (frames or 1):
        raise InputRefusedError(
            f"{name} has {len(found)} frames, and {frames or 1} are wanted; lower frames, or use a longer video"
        )
    return found


def _frames(data: bytes) -> Iterator[Image.Image]:
    with av.open(io.BytesIO(data), mode="r") as container:
        for frame in container.decode(video=0) if container.streams.video else ():
            if frame.width * frame.height > MOST_PIXELS:
                raise ValueError(f"a frame of {frame.width} × {frame.height} pixels is too large")
            yield Image.fromarray(frame.to_ndarray(format="rgb24"))


def _open(data: bytes, name: str) -> Image.Image:
    """Gives a picture upright; its size is looked at before its pixels are unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise InputRefusedError(
                f"{name} has {picture.width} × {picture.height} pixels, and {MOST_PIXELS} are the most; make it "
                "smaller"
            )
        picture.load()
        return ImageOps.exif_transpose(picture)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputRefusedError(
            f"{name} cannot be decoded as a picture ({error}); write it again as PNG, JPEG or WebP"
        ) from error


def _is_plain(picture: Image.Image) -> bool:
    """Whether a picture has one colour only."""
    extrema = picture.convert("RGB").getextrema()
    return all(isinstance(pair, tuple) and pair[0] == pair[1] for pair in extrema)
