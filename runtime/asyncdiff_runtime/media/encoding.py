"""One entry to all formats: pictures or frames and metadata in, the bytes of objects out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asyncdiff_api.formats.layout import EXTENSIONS, frame_name
from asyncdiff_api.output import Format
from PIL import Image

from asyncdiff_runtime.media.errors import EncodingRefused, MediaUnreadable
from asyncdiff_runtime.media.metadata import describe
from asyncdiff_runtime.media.stills import encode_jpeg, encode_png, encode_webp, read_pixels, read_still

DEFAULT_QUALITY: Final = 95
"""Of `output.encoderQuality`."""
DEFAULT_FPS: Final = 8
"""Of `generate.fps`."""

_CONTENT_TYPES: Final = {
    Format.PNG: "image/png",
    Format.JPEG: "image/jpeg",
    Format.WEBP: "image/webp",
    Format.MP4: "video/mp4",
    Format.WEBM: "video/webm",
    Format.FRAMES: "image/png",
}
_SINGLE: Final = frozenset({Format.PNG, Format.JPEG, Format.WEBP})


@dataclass(frozen=True, slots=True)
class Encoded:
    """One object of an item."""

    data: bytes
    suffix: str
    """What follows the item's id in the object's key, such as `.png` or `/frame-00000.png`."""
    content_type: str


def encode(
    pictures: Image.Image | Sequence[Image.Image],
    fmt: Format | str,
    metadata: Mapping[str, object],
    *,
    fps: int | None = None,
    quality: int | None = None,
) -> Encoded:
    """Encodes an item that is one object: every format but Frames, which `encode_frames` gives.

    Args:
        pictures: A picture; for MP4 and WebM the frames.
        fmt: As `output.format`.
        metadata: JSON types; written into the file, see `describe`.
        fps: Frames per second of a video; 8 where it is None.
        quality: From 1 to 100, 95 where it is None. PNG loses nothing and takes no heed of it.

    Raises:
        EncodingRefused: The pictures or their metadata cannot be written in this format.
    """
    kind = Format(fmt)
    quality = DEFAULT_QUALITY if quality is None else quality
    if not 1 <= quality <= 100:
        raise EncodingRefused(f"the quality is {quality}; wanted is a number from 1 to 100")
    if kind is Format.FRAMES:
        raise EncodingRefused("the format Frames is a folder of pictures; encode_frames gives them")
    frames = _frames(pictures)
    if kind in _SINGLE:
        data = _encode_still(_only(frames, kind), kind, metadata, quality)
    else:
        data = _encode_video(frames, kind, metadata, DEFAULT_FPS if fps is None else fps, quality)
    return Encoded(data, EXTENSIONS[kind], _CONTENT_TYPES[kind])


def encode_frames(
    pictures: Image.Image | Sequence[Image.Image], metadata: Mapping[str, object]
) -> Iterator[Encoded]:
    """Encodes the frames of a video as numbered PNGs, one at a time; each carries the item's metadata.

    Raises:
        EncodingRefused: The metadata cannot be written, or there is no frame.
    """
    for number, frame in enumerate(_frames(pictures)):
        data = encode_png(frame, describe(metadata, frame.size))
        yield Encoded(data, f"/{frame_name(number)}", _CONTENT_TYPES[Format.FRAMES])


def read_metadata(data: bytes) -> dict[str, object]:
    """Reads the metadata from a file that `encode` or `encode_frames` has made, known by its first bytes.

    Raises:
        MediaUnreadable: The file is none of our formats, is damaged, or carries no metadata of ours.
    """
    if _is_still(data):
        return read_still(data)
    if _is_video(data):
        from asyncdiff_runtime.media.videos import read_video

        return read_video(data)
    raise _unknown(data)


def read_picture(data: bytes) -> Image.Image:
    """Reads a picture, or the first frame of a video, known by its first bytes.

    Raises:
        MediaUnreadable: The file is none of our formats, or is damaged.
    """
    if _is_still(data):
        return read_pixels(data)
    if _is_video(data):
        from asyncdiff_runtime.media.videos import read_first_frame

        return read_first_frame(data)
    raise _unknown(data)


def _is_still(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or data[:4] + data[8:12] == b"RIFFWEBP"


def _is_video(data: bytes) -> bool:
    return data[4:8] == b"ftyp" or data.startswith(b"\x1a\x45\xdf\xa3")


def _unknown(data: bytes) -> MediaUnreadable:
    return MediaUnreadable(
        f"the file begins with {data[:8]!r}; wanted is a PNG, JPEG, WebP, MP4 or WebM file that asyncdiff has made"
    )


def _encode_still(picture: Image.Image, kind: Format, metadata: Mapping[str, object], quality: int) -> bytes:
    description = describe(metadata, picture.size)
    if kind is Format.PNG:
        return encode_png(picture, description)
    if kind is Format.JPEG:
        return encode_jpeg(picture, description, quality)
    return encode_webp(picture, description, quality)


def _encode_video(
    frames: Sequence[Image.Image], kind: Format, metadata: Mapping[str, object], fps: int, quality: int
) -> bytes:
    # FFmpeg's libraries take a tenth of a second to load, which programs for pictures need not wait for.
    from asyncdiff_runtime.media.videos import encode_mp4, encode_webm

    if not 1 <= fps <= 240:
        raise EncodingRefused(
            f"the video should have {fps} frames per second; wanted is a number from 1 to 240"
        )
    description = describe(metadata, frames[0].size)
    write = encode_mp4 if kind is Format.MP4 else encode_webm
    return write(frames, description, fps, quality)


def _frames(pictures: Image.Image | Sequence[Image.Image]) -> Sequence[Image.Image]:
    frames = [pictures] if isinstance(pictures, Image.Image) else pictures
    if not frames:
        raise EncodingRefused("there is no frame to encode; the pipeline gave an empty video")
    return frames


def _only(frames: Sequence[Image.Image], kind: Format) -> Image.Image:
    if len(frames) > 1:
        raise EncodingRefused(
            f"{kind.value} holds one picture, and the pipeline gave {len(frames)} frames; set format to MP4, "
            "WebM or Frames"
        )
    return frames[0]
