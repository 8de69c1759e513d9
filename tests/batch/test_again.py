"""`asyncdiff explain-image` tells from a file what made it, and gives the job that makes it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import EncodingIdentity, ItemRequest
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.request import model_identity
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.again import job_of_item
from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.media import encode, encode_frames
from PIL import Image
from support.command import run
from support.jobs import job as document

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ADAPTERS = [
    {"kind": "LoRA", "repository": "somebody/fox", "weight": 0.8, "file": "fox.safetensors"},
    {"kind": "IPAdapter", "volume": {"claimName": "models", "path": "ip"}},
]


def request_of_first_item(changes: dict[str, Any], line: dict[str, Any]) -> ItemRequest:
    """The request of a job's first item, its model's names resolved as if there were a hub."""
    spec = load(document(changes)).spec
    model = model_identity(
        spec.model,
        COMMIT,
        vae_commit=COMMIT if spec.model.vae else "",
        adapter_commits=(COMMIT,) * len(spec.model.adapters),
    )
    resolver = Resolver(
        Shared(
            generate=spec.generate,
            model=model,
            schedule=schedule_of(spec.parallelism),
            attention_backend=spec.parallelism.attention_backend,
            encoding=EncodingIdentity(format=str(spec.output.format)),
        )
    )
    item = next(resolver.items(Position(0, 1), WorklistLine.model_validate({"prompt": "a fox", **line})))
    assert resolver.request(item).item_id == item.id
    return resolver.request(item)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, {}),
        (
            {
                "spec.model.revision": "main",
                "spec.model.vae": "somebody/vae",
                "spec.model.adapters": ADAPTERS,
            },
            {},
        ),
        ({"spec.model": {"volume": {"claimName": "models", "path": "sdxl/fp16"}, "variant": "fp16"}}, {}),
        ({"spec.model": {"s3": "s3://models/sdxl/"}}, {}),
        (
            {"spec.parallelism": {"strategy": "Lookahead", "gpusPerPod": 3, "lookahead": {"degree": 3}}},
            {"steps": 7, "seed": 2**53 - 1, "negativePrompt": "a dog"},
        ),
        (
            {
                "spec.output.format": "MP4",
                "spec.generate.frames": 16,
                "spec.generate.fps": 12,
                "spec.generate.options": {"eta": 0.5},
            },
            {"prompt": "ein Fuchs: \u2028 '#'\n", "scheduler": {"class": "EulerDiscreteScheduler"}},
        ),
    ],
)
def test_the_job_of_an_item_makes_the_same_item(changes: dict[str, Any], line: dict[str, Any]) -> None:
    request = request_of_first_item(changes, line)

    text = yaml.safe_dump(job_of_item(request), allow_unicode=True)
    again = yaml.safe_load(text)

    spec = again["spec"]
    words = spec["generate"].pop("prompts")
    same = request_of_first_item(
        {"spec.model": spec["model"], "spec.generate": {**spec["generate"], "prompts": words}}
        | {f"spec.parallelism.{name}": value for name, value in spec["parallelism"].items()}
        | {"spec.output.format": spec["output"]["format"]},
        {"prompt": words[0]},
    )
    assert same.item_id == request.item_id


def test_what_was_made_of_input_files_is_refused_with_their_digests() -> None:
    request = request_of_first_item({}, {}).model_copy(update={"inputs": {"image": "sha256:12ab"}})
    with pytest.raises(InvalidJobError, match=r"image \(sha256:12ab\)"):
        job_of_item(request)


@pytest.mark.parametrize("line", [{"seed": 2**63}, {"prompt": "fox " * 300}])
def test_what_only_a_worklist_can_say_is_refused_as_that(line: dict[str, Any]) -> None:
    with pytest.raises(InvalidJobError, match=r"write it as a line of one: spec\.generate"):
        job_of_item(request_of_first_item({}, line))


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WebP", "MP4", "WebM", "Frames"])
def test_a_file_of_every_format_tells_its_prompt_and_seed(tmp_path: Path, fmt: str) -> None:
    request = request_of_first_item({}, {"seed": 7})
    metadata = {"id": request.item_id, "request": request.model_dump(mode="json"), "versions": {"torch": "2"}}
    picture = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    file = tmp_path / "picture"
    if fmt == "Frames":
        file.mkdir()
        for frame in encode_frames([picture, picture], metadata):
            (file / frame.suffix.removeprefix("/")).write_bytes(frame.data)
    else:
        pictures = [picture, picture] if fmt in ("MP4", "WebM") else picture
        file.write_bytes(encode(pictures, fmt, metadata).data)

    told = run("explain-image", str(file)).output

    assert told.startswith("a fox\nseed      7\n")
    assert f"item      {request.item_id}\n" in told
    assert "versions  torch 2\n" in told


def test_files_that_tell_nothing_say_why(tmp_path: Path) -> None:
    stripped, altered = tmp_path / "stripped.png", tmp_path / "altered.png"
    picture = Image.new("RGB", (8, 8))
    picture.save(stripped)
    request = request_of_first_item({}, {}).model_dump(mode="json")
    altered.write_bytes(encode(picture, "PNG", {"id": "0" * 24, "request": request}).data)

    for file, why in (
        (stripped, "screenshots, messengers"),
        (altered, "the metadata was altered"),
        (tmp_path / "none.png", "there is no file"),
    ):
        done = run("explain-image", str(file))
        assert (done.exit_code, why in done.output) == (2, True), done.output


def test_the_job_of_a_picture_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job = document(
        {
            "spec.model": {"bundled": "shapes-unet", "dtype": "float32"},
            "spec.generate": {
                "prompts": ["a red circle", "a blue star"],
                "steps": 2,
                "height": 64,
                "width": 64,
            },
            "spec.parallelism": {"device": "CPU", "gpusPerPod": 1},
            "spec.output": {"volume": {"claimName": "pictures"}},
        }
    )
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))

    def make(file: Path, output: Path) -> list[Path]:
        done = run("run", str(file), "--output", str(output))
        assert done.exit_code == 0, done.stderr
        return sorted(output.glob("items/*/*.png"))

    _, second = make(tmp_path / "job.yaml", tmp_path / "first")
    (tmp_path / "again.yaml").write_text(run("explain-image", str(second), "--job").output)
    (same,) = make(tmp_path / "again.yaml", tmp_path / "again")

    assert same.name == second.name
    assert same.read_bytes() == second.read_bytes()
    told = run("explain-image", str(same)).output
    assert "outcome   Accepted\n" in told  # of the manifest around it
    assert json.loads(run("explain-image", str(same), "--json").output)["request"]["seed"] == 0
