"""Files carry what made them, are the same each time, and other tools can read them."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from asyncdiff_api.formats.layout import EXTENSIONS, frame_name
from asyncdiff_api.output import Format
from asyncdiff_runtime.media import (
    EncodingRefused,
    MediaUnreadable,
    encode,
    encode_frames,
    read_metadata,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageDraw

STILLS = (Format.PNG, Format.JPEG, Format.WEBP)
VIDEOS = (Format.MP4, Format.WEBM)
SINGLE = STILLS + VIDEOS

PROMPT = 'ein Fuchs im Schnee, 雪の中の狐 🦊, "quoted" <b>&amp;</b> ]]> line\nbreak \u2028'
METADATA = {
    "format": "item",
    "request": {
        "prompt": PROMPT,
        "negativePrompt": "blurry",
        "seed": 2**64 - 1,
        "steps": 30,
        "guidanceScale": 5.5,
        "scheduler": {"class": "EulerDiscreteScheduler"},
        "model": {"source": "bundled:shapes", "commit": "sha256:0123"},
    },
    "versions": {"torch": "2.15"},
    "report": {"accepted": 3, "waits": [0.25, 1e-07, None, True]},
}


def scene(step: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    picture = Image.new("RGB", size, (200, 30, 40))
    ImageDraw.Draw(picture).ellipse((step, 8, step + 20, 28), fill=(20, 180, 60))
    return picture


def scenes(count: int = 6) -> list[Image.Image]:
    return [scene(4 * step) for step in range(count)]


def pictures_for(fmt: Format) -> Image.Image | Sequence[Image.Image]:
    return scene() if fmt in STILLS else scenes()


@pytest.mark.parametrize("fmt", SINGLE)
def test_metadata_comes_back_as_it_was(fmt: Format) -> None:
    encoded = encode(pictures_for(fmt), fmt, METADATA)

    assert read_metadata(encoded.data) == METADATA
    assert encoded.suffix == EXTENSIONS[fmt]


@pytest.mark.parametrize("fmt", SINGLE)
def test_equal_input_gives_equal_bytes(fmt: Format) -> None:
    reordered = dict(reversed(METADATA.items()))

    assert encode(pictures_for(fmt), fmt, METADATA) == encode(pictures_for(fmt), fmt, reordered)


@pytest.mark.parametrize("fmt", [Format.PNG, Format.JPEG, Format.WEBP])
@settings(deadline=None, max_examples=40)
@given(prompt=st.text(st.characters(codec=None), max_size=200))
def test_any_text_survives(fmt: Format, prompt: str) -> None:
    assert read_metadata(encode(scene(), fmt, {"prompt": prompt}).data) == {"prompt": prompt}


@pytest.mark.parametrize("fmt", VIDEOS)
@pytest.mark.parametrize("prompt", ["\0", "\ud800", "a\0b\u2028", "=;#\\\n", "x" * 200_000])
def test_odd_text_survives_in_videos(fmt: Format, prompt: str) -> None:
    assert read_metadata(encode(scenes(2), fmt, {"prompt": prompt}).data) == {"prompt": prompt}


def test_png_loses_nothing() -> None:
    with Image.open(io.BytesIO(encode(scene(), "PNG", METADATA).data)) as read:
        assert read.convert("RGB").tobytes() == scene().tobytes()


def test_png_says_prompt_and_settings_where_picture_managers_look() -> None:
    with Image.open(io.BytesIO(encode(scene(), "PNG", METADATA).data)) as picture:
        text = picture.info

    assert text["Description"] == PROMPT
    assert text["parameters"] == (
        f"{PROMPT}\nNegative prompt: blurry\n"
        "Steps: 30, Sampler: EulerDiscreteScheduler, CFG scale: 5.5, Seed: 18446744073709551615, "
        "Model: bundled:shapes, Model hash: sha256:0123, Size: 64x48"
    )


@pytest.mark.parametrize("fmt", [Format.JPEG, Format.WEBP])
def test_exif_says_prompt_and_settings(fmt: Format) -> None:
    with Image.open(io.BytesIO(encode(scene(), fmt, METADATA).data)) as picture:
        comment = picture.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]

    assert comment.startswith(b"UNICODE\0")
    assert comment[8:].decode("utf-16-be").startswith(f"{PROMPT}\nNegative prompt: blurry\nSteps: 30")


@pytest.mark.parametrize("fmt", VIDEOS)
def test_players_show_the_prompt(fmt: Format) -> None:
    with av.open(io.BytesIO(encode(scenes(), fmt, METADATA).data)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}

    assert tags["title"].startswith("ein Fuchs im Schnee, 雪の中の狐 🦊")
    assert "Steps: 30" in tags["description"]


@pytest.mark.parametrize("fmt", VIDEOS)
@pytest.mark.parametrize("fps", [1, 8, 24])
def test_a_video_has_its_frames_rate_and_colours(fmt: Format, fps: int) -> None:
    with av.open(io.BytesIO(encode(scenes(), fmt, {}, fps=fps).data), "r") as container:
        stream = container.streams.video[0]
        rate, colours = stream.average_rate, stream.codec_context.colorspace
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    assert len(frames) == len(scenes())
    assert rate == fps
    assert colours == 1  # BT.709
    for read, made in zip(frames, scenes(), strict=True):
        corner = read[40:, 50:].reshape(-1, 3).mean(axis=0)
        assert abs(corner - made.getpixel((60, 44))).max() < 6


def test_an_mp4_begins_with_its_index_so_that_it_plays_while_it_loads() -> None:
    many = scenes() * 100
    for frames in (scenes(1), many):
        data = encode(frames, "MP4", METADATA).data
        assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fmt", [Format.JPEG, Format.WEBP, Format.MP4, Format.WEBM])
def test_more_quality_takes_more_bytes(fmt: Format) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    pictures = noise if fmt in STILLS else [noise]
    sizes = [len(encode(pictures, fmt, {}, quality=quality).data) for quality in (1, 50, 95, 100)]

    assert sizes == sorted(set(sizes))


def test_frames_are_numbered_pngs_that_each_carry_the_metadata() -> None:
    encoded = list(encode_frames(scenes(3), METADATA))

    assert [one.suffix for one in encoded] == [f"/{frame_name(number)}" for number in range(3)]
    assert all(read_metadata(one.data) == METADATA for one in encoded)
    assert len({one.data for one in encoded}) == 3


@pytest.mark.parametrize(
    ("pictures", "fmt", "words"),
    [
        (scenes(2), "PNG", "set format to MP4, WebM or Frames"),
        (scenes(2), "Frames", "encode_frames"),
        ([], "MP4", "no frame"),
        ([scene(), scene(size=(32, 32))], "MP4", "64x48 and 32x32"),
        ([scene(size=(33, 32))], "WebM", "even width and height"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(pictures: Sequence[Image.Image], fmt: str, words: str) -> None:
    with pytest.raises(EncodingRefused, match=words):
        encode(pictures, fmt, {})


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"report": {"psnr": float("nan")}}, "report.psnr is nan"),
        ({"model": [Path("weights")]}, "model.0 is a PosixPath"),
        ({"labels": {1: "a"}}, "labels has the key 1"),
    ],
)
def test_metadata_that_would_not_come_back_is_refused(metadata: dict[str, object], words: str) -> None:
    with pytest.raises(EncodingRefused, match=words):
        encode(scene(), "PNG", metadata)


def test_metadata_beyond_a_jpeg_segment_is_refused_and_fits_elsewhere() -> None:
    metadata = {"prompt": "fox " * 40_000}

    with pytest.raises(EncodingRefused, match="set format to PNG or WebP"):
        encode(scene(), "JPEG", metadata)
    for fmt in ("PNG", "WebP"):
        assert read_metadata(encode(scene(), fmt, metadata).data) == metadata


@pytest.mark.parametrize(("quality", "fps"), [(0, None), (101, None), (None, 0), (None, 241)])
def test_quality_and_rate_have_bounds(quality: int | None, fps: int | None) -> None:
    with pytest.raises(EncodingRefused, match="wanted is a number from 1 to"):
        encode(scenes(), "MP4", {}, quality=quality, fps=fps)


@pytest.mark.parametrize("fmt", SINGLE)
def test_a_file_cut_short_is_told(fmt: Format) -> None:
    data = encode(pictures_for(fmt), fmt, METADATA).data
    for cut in (0, 3, 12, 60, len(data) // 8):
        with pytest.raises(MediaUnreadable):
            read_metadata(data[:cut])


@pytest.mark.parametrize("fmt", STILLS)
def test_a_picture_from_elsewhere_is_told(fmt: Format) -> None:
    file = io.BytesIO()
    scene().save(file, fmt.value)

    with pytest.raises(MediaUnreadable, match="carries no asyncdiff metadata"):
        read_metadata(file.getvalue())


def test_something_else_is_told() -> None:
    with pytest.raises(MediaUnreadable, match="wanted is a PNG, JPEG, WebP, MP4 or WebM file"):
        read_metadata(b"GIF89a...")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("fmt", SINGLE)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_spoilt_file_is_told_or_still_read(fmt: Format, data: st.DataObject) -> None:
    spoilt = bytearray(whole_file(fmt))
    places = st.integers(0, min(len(spoilt), 2000) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=12)):
        spoilt[place] = value

    with contextlib.suppress(MediaUnreadable):
        assert isinstance(read_metadata(bytes(spoilt)), dict)


@functools.cache
def whole_file(fmt: Format) -> bytes:
    return encode(pictures_for(fmt), fmt, METADATA).data
