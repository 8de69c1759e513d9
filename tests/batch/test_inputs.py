"""Pictures and videos that items start from: had safely, decoded within limits, fitted, and never waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from asyncdiff_api.formats.errors import InputRefusedError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.generate import Generate
from asyncdiff_api.output import S3, Output
from asyncdiff_runtime.batch.generator import Unmade
from asyncdiff_runtime.batch.inputs.addresses import Addresses
from asyncdiff_runtime.batch.inputs.common import check_common_inputs, digests_of
from asyncdiff_runtime.batch.inputs.decoding import decode_mask, decode_picture, decode_video
from asyncdiff_runtime.batch.inputs.fitting import Size, fit, size_for
from asyncdiff_runtime.batch.inputs.https import HttpsReader
from asyncdiff_runtime.batch.inputs.loading import InputLoader, Pictures
from asyncdiff_runtime.media import encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.models import in_volume, model_job, pixels, planned, results
from support.pictures import file_of, halves

if TYPE_CHECKING:
    from support.s3 import S3Server

# -- decoding


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: what is left comes to the top
    decoded = decode_picture(file_of(halves((64, 32)), "JPEG", exif=exif, quality=95), "a")
    assert decoded.size == (32, 64)
    assert decoded.getpixel((16, 8))[0] > 200  # type: ignore[index]  # -- an RGB picture has tuples
    assert decoded.getpixel((16, 56))[2] > 200  # type: ignore[index]  # -- an RGB picture has tuples


def test_transparency_lies_over_white_and_sixteen_bits_keep_their_levels() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode_picture(file_of(clear), "a").getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert decode_picture(file_of(deep), "a").getpixel((0, 0)) == (128, 128, 128)


def test_a_mask_may_say_it_by_grey_or_by_transparency_alone() -> None:
    assert decode_mask(file_of(Image.new("L", (4, 4), 255)), "a").getpixel((0, 0)) == 255
    hole = Image.new("RGBA", (4, 4), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (0, 0, 2, 4))
    mask = decode_mask(file_of(hole), "a")
    assert (mask.getpixel((0, 0)), mask.getpixel((3, 0))) == (0, 255)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be decoded as a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be decoded as a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be decoded as a picture"),
        (file_of(halves(), "JPEG")[:-200], "cannot be decoded as a picture"),
        (file_of(Image.new("1", (10_000, 10_000))), "10000 × 10000 pixels, and 67108864 are the most"),
    ],
    ids=["empty", "svg", "postscript", "cut", "bomb"],
)
def test_what_is_no_picture_is_refused_with_its_address(data: bytes, said: str) -> None:
    with pytest.raises(InputRefusedError, match=said) as raised:
        decode_picture(data, "s3://some-bucket/a.png")
    assert "s3://some-bucket/a.png" in str(raised.value)


def test_a_video_gives_as_many_frames_as_are_wanted_or_says_how_many_it_has() -> None:
    frames = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (0, 80, 160, 240)]
    metadata: dict[str, object] = {"id": "0" * 24, "request": {"prompt": "a"}, "versions": {}}
    video = encode(frames, "MP4", metadata, fps=8, quality=95).data
    assert len(decode_video(video, "a")) == 4
    shades = [frame.getpixel((16, 16))[0] for frame in decode_video(video, "a", 3)]  # type: ignore[index]  # -- an RGB picture has tuples
    assert shades == sorted(shades)
    assert len(shades) == 3
    with pytest.raises(InputRefusedError, match="has 4 frames, and 5 are wanted"):
        decode_video(video, "a", 5)
    with pytest.raises(InputRefusedError, match="cannot be decoded as a video"):
        decode_video(b"no video at all", "a")


# -- fitting

sides = st.integers(1, 600)
wanted_sides = st.none() | st.integers(1, 60).map(lambda count: count * 8)


@given(width=sides, height=sides, wide=wanted_sides, high=wanted_sides)
def test_a_picture_gets_the_items_size_and_keeps_its_proportions(
    width: int, height: int, wide: int | None, high: int | None
) -> None:
    size = size_for(Size(width, height), wide, high)
    assert (wide or size.width, high or size.height) == size
    assert size.width % 8 == size.height % 8 == 0 < min(size)
    if (wide is None) != (high is None):
        grown = size.height * width / height if high is None else size.width * height / width
        assert (
            abs(grown - (size.width if high is None else size.height))
            <= 8 * max(width / height, height / width) + 1
        )


def test_what_overlaps_is_cut_off_on_both_sides_alike() -> None:
    wide = Image.new("RGB", (60, 20), "white")
    wide.paste("black", (20, 0, 40, 20))
    fitted = fit(wide, Size(40, 40))
    assert fitted.getpixel((20, 20)) == (0, 0, 0)
    assert fitted.getpixel((0, 20)) == fitted.getpixel((39, 20))
    assert fit(halves(), Size(32, 32)).tobytes() == halves().tobytes()


# -- https


@pytest.fixture
def put(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], str]:
    """Puts an object into a bucket and gives its address."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client = s3_server.client()

    def put_object(key: str, data: bytes) -> str:
        client.put_object(Bucket=bucket, Key=key, Body=data)
        return f"s3://{bucket}/{key}"

    return put_object


@pytest.fixture
def addresses(s3_server: S3Server) -> Addresses:
    return Addresses(
        Output(s3=S3(bucket="renders", prefix="posters/", endpoint=s3_server.endpoint)), HttpsReader()
    )


def items_of(addresses: Addresses, lines: list[Mapping[str, Any]], generate: Generate) -> list[WorkItem]:
    parsed = [WorklistLine.model_validate(dict(line)) for line in lines]
    digests = digests_of(addresses, generate, parsed)
    return [
        WorkItem("0" * 24, Position(0, number), line, 0, known)
        for number, (line, known) in enumerate(zip(parsed, digests, strict=True), start=1)
    ]


def test_a_digest_is_of_the_content_and_a_missing_input_fails_its_own_item(
    put: Callable[[str, bytes], str], addresses: Addresses
) -> None:
    there = put("a.png", file_of(halves()))
    again = put("b.png", file_of(halves()))
    broken = put("c.png", b"no picture")
    missing = there.replace("a.png", "d.png")
    generate = Generate(height=16, width=32)
    items = items_of(addresses, [{"image": name} for name in (there, again, broken, missing)], generate)
    assert items[0].digests == items[1].digests
    assert len({item.digests["image"] for item in items}) == 3
    loaded = InputLoader(addresses, generate).load(items)
    assert [one.stills["image"].size for one in loaded if isinstance(one, Pictures)] == [(32, 16)] * 2
    refused = [one for one in loaded if isinstance(one, Unmade)]
    assert [one.reason for one in refused] == ["InputRefused"] * 2
    assert "line 3 of the worklist" in refused[0].message
    assert f"{missing} does not exist" in refused[1].message


def test_an_input_that_changes_under_its_items_name_is_refused(
    put: Callable[[str, bytes], str], addresses: Addresses
) -> None:
    address = put("a.png", file_of(halves()))
    items = items_of(addresses, [{"image": address}], Generate())
    put("a.png", file_of(Image.new("RGB", (8, 8))))
    (loaded,) = InputLoader(addresses, Generate()).load(items)
    assert isinstance(loaded, Unmade)
    assert "was changed while the job ran" in loaded.message


def test_the_next_batchs_inputs_are_had_before_they_are_asked_for(
    put: Callable[[str, bytes], str], addresses: Addresses
) -> None:
    address = put("a.png", file_of(halves()))
    items = items_of(addresses, [{"image": address}], Generate())
    loader, had = InputLoader(addresses, Generate()), threading.Event()
    read = addresses.read

    def noted(name: str, address: str, digest: str) -> bytes:
        data = read(name, address, digest)
        had.set()
        return data

    object.__setattr__(addresses, "read", noted)
    loader.prepare(items)
    assert had.wait(60)
    assert isinstance(loader.load(items)[0], Pictures)


def test_an_input_that_all_items_share_is_tried_before_anything_is_loaded(
    put: Callable[[str, bytes], str], s3_server: S3Server
) -> None:
    address = put("a.png", b"no picture")
    changes = {
        "spec.generate.inputs": {"image": address},
        "spec.output.s3.endpoint": s3_server.endpoint,
    }
    with pytest.raises(InputRefusedError, match=r"spec.generate.inputs.image: .* cannot be decoded"):
        check_common_inputs(model_job({"repository": "owner/model"}, changes))


# -- pipelines that start from pictures


def made(
    every_model: Path, tmp_path: Path, server: S3Server, model: str, changes: dict[str, Any], lines: Any
) -> list[Any]:
    source, _, pipeline = model.partition(":")
    common = {
        "spec.output.s3.endpoint": server.endpoint,
        "spec.generate.prompts": None,
        "spec.generate.worklist": {"s3": "s3://some-bucket/list.jsonl"},
        **changes,
    }
    job = model_job({**in_volume(source), "pipeline": pipeline}, common)
    return [pixels(one) for one in results(job, planned(job, every_model, tmp_path), lines)]


def test_image_to_image_starts_from_each_lines_own_picture(
    put: Callable[[str, bytes], str], every_model: Path, tmp_path: Path, s3_server: S3Server
) -> None:
    lines = [
        {"prompt": "a fox", "image": put("a.png", file_of(halves((48, 32))))},
        {"prompt": "a fox", "image": put("b.png", file_of(Image.new("RGB", (64, 64), "green")))},
    ]
    changes: dict[str, Any] = {"spec.generate.options": {"strength": 0.6}, "spec.generate.steps": 4}
    model = "sd15:StableDiffusionImg2ImgPipeline"
    together = made(every_model, tmp_path, s3_server, model, changes, lines)
    alone = made(every_model, tmp_path, s3_server, model, changes, lines[1:])
    assert [picture.shape for picture in together] == [(32, 32, 3)] * 2
    assert np.abs(together[0] - together[1]).mean() > 0.01
    assert np.allclose(together[1], alone[0], atol=1e-4)
    own = {**changes, "spec.generate.height": None, "spec.generate.width": None}
    sizes = [picture.shape for picture in made(every_model, tmp_path, s3_server, model, own, lines)]
    assert sizes == [(32, 48, 3), (64, 64, 3)]


def test_inpainting_paints_where_the_mask_is_white(
    put: Callable[[str, bytes], str], every_model: Path, tmp_path: Path, s3_server: S3Server
) -> None:
    mask = Image.new("L", (32, 32))
    mask.paste(255, (16, 0, 32, 32))
    line = {"prompt": "a fox", "image": put("a.png", file_of(halves()))}
    masks = [put("m.png", file_of(mask)), put("n.png", file_of(Image.new("L", (32, 32), 255)))]
    model = "sd15:StableDiffusionInpaintPipeline"
    half, whole = made(
        every_model, tmp_path, s3_server, model, {}, [{**line, "mask": address} for address in masks]
    )
    assert np.abs(half[:, 16:] - whole[:, 16:]).mean() < np.abs(half[:, :14] - whole[:, :14]).mean()


def test_a_picture_becomes_a_video(
    put: Callable[[str, bytes], str], every_model: Path, tmp_path: Path, s3_server: S3Server
) -> None:
    lines = [
        {"image": put(f"{name}.png", file_of(Image.new("RGB", (32, 32), name)))} for name in ("red", "blue")
    ]
    changes = {"spec.generate.frames": 3, "spec.output.format": "MP4"}
    videos = made(every_model, tmp_path, s3_server, "svd", changes, lines)
    assert [video.shape for video in videos] == [(3, 32, 32, 3)] * 2
    assert np.abs(videos[0] - videos[1]).mean() > 0.001
