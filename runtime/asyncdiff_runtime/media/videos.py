"""MP4 (H.264) and WebM (VP9) through FFmpeg's libraries, with the item's metadata in the file.

The document is the comment of an MP4 file and the tag `ASYNCDIFF` of a WebM file; title and description are
those that players show. Colours are converted and marked as BT.709. Equal frames and metadata give equal
bytes with equal versions of FFmpeg's libraries: their dates and random ids are left out, and the number of
threads does not follow the machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from asyncdiff_runtime.media.errors import EncodingRefused, MediaUnreadable
from asyncdiff_runtime.media.metadata import KEY, Description, no_metadata, parse_document

THREADS: Final = 4
"""Of one encoder. Fixed, because it changes the bytes."""

BT709: Final = 1
"""Number of BT.709 in ITU-T H.273, tables 2 to 4, for the primaries, the transfer and the matrix."""

_MAX_PROMPT_IN_TITLE: Final = 200


@dataclass(frozen=True, slots=True)
class _Codec:
    container: str
    encoder: str
    options: dict[str, str]
    crf_of_worst: int
    crf_of_best: int
    """Of quality 100; not 0, which for H.264 is a lossless profile that browsers do not play."""

    def crf(self, quality: int) -> int:
        """Gives the constant rate factor for a quality from 1 to 100."""
        share = (quality - 1) / 99
        return round(self.crf_of_worst + share * (self.crf_of_best - self.crf_of_worst))


_MP4: Final = _Codec("mp4", "libx264", {"preset": "medium"}, 45, 10)
_WEBM: Final = _Codec("webm", "libvpx-vp9", {"b": "0", "row-mt": "1", "cpu-used": "4"}, 60, 6)


def encode_mp4(frames: Sequence[Image.Image], description: Description, fps: int, quality: int) -> bytes:
    """Gives an MP4 file whose index comes first, so that it plays while it loads.

    Raises:
        EncodingRefused: The frames differ in size, or a side is odd.
    """
    tags = _tags(description) | {"comment": description.document}
    # What the index takes, with room: up to 32 bytes a frame and every tag once. Otherwise it is put last.
    reserved = 8192 + 32 * len(frames) + sum(len(value.encode()) + 64 for value in tags.values())
    return _encode(_MP4, frames, tags, fps, quality, {"moov_size": str(reserved)})


def encode_webm(frames: Sequence[Image.Image], description: Description, fps: int, quality: int) -> bytes:
    """Gives a WebM file; otherwise as `encode_mp4`."""
    tags = _tags(description) | {KEY: description.document}
    return _encode(_WEBM, frames, tags, fps, quality, {})


def read_video(data: bytes) -> dict[str, object]:
    """Reads the metadata of an MP4 or WebM file.

    Raises:
        MediaUnreadable: The file is damaged or carries no metadata of ours.
    """
    with _opened(data) as container:
        kind = "WebM" if "webm" in container.format.name else "MP4"
        tags = {name.lower(): value for name, value in container.metadata.items()}
    document = tags.get(KEY if kind == "WebM" else "comment", "")
    if not document.startswith("{"):
        raise no_metadata(kind)
    return parse_document(document)


def read_first_frame(data: bytes) -> Image.Image:
    """Reads the first frame of an MP4 or WebM file.

    Raises:
        MediaUnreadable: The file is damaged or has no frame.
    """
    with _opened(data) as container:
        for frame in container.decode(video=0):
            return Image.fromarray(frame.to_ndarray(format="rgb24"))
    raise MediaUnreadable("the video has no frame; take it from the output prefix again")


@contextmanager
def _opened(data: bytes) -> Iterator[InputContainer]:
    try:
        with av.open(io.BytesIO(data), metadata_errors="replace") as container:
            assert isinstance(container, InputContainer)
            yield container
    except av.FFmpegError as error:
        raise MediaUnreadable(
            f"the video cannot be read ({error}); it was cut short or altered: take it from the output "
            "prefix again"
        ) from error


def _tags(description: Description) -> dict[str, str]:
    title = " ".join(description.prompt.split())
    if len(title) > _MAX_PROMPT_IN_TITLE:
        title = title[: _MAX_PROMPT_IN_TITLE - 1] + "…"
    return {"title": title, "description": description.parameters}


def _encode(
    codec: _Codec,
    frames: Sequence[Image.Image],
    tags: dict[str, str],
    fps: int,
    quality: int,
    container_options: dict[str, str],
) -> bytes:
    width, height = _size(frames, codec.container)
    file = io.BytesIO()
    options = {"fflags": "+bitexact", **container_options}
    with av.open(file, "w", format=codec.container, options=options) as container:
        container.metadata.update(tags)
        encoder_options = codec.options | {"crf": str(codec.crf(quality))}
        stream = container.add_stream(codec.encoder, rate=Fraction(fps), options=encoder_options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_count = THREADS
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        for frame in frames:
            container.mux(stream.encode(_converted(frame)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _converted(frame: Image.Image) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.asarray(frame.convert("RGB")), format="rgb24")
    return picture.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _size(frames: Sequence[Image.Image], container: str) -> tuple[int, int]:
    width, height = frames[0].size
    other = next((frame.size for frame in frames if frame.size != (width, height)), None)
    if other is not None:
        raise EncodingRefused(
            f"the frames of a video have one size; found {width}x{height} and {other[0]}x{other[1]}"
        )
    if width % 2 or height % 2:
        raise EncodingRefused(
            f"the frames are {width}x{height}; {container} needs an even width and height: change the size, "
            "or set format to Frames"
        )
    return width, height
