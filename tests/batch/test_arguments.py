"""What a pipeline is called with, item by item."""

from __future__ import annotations

import contextlib
from typing import Any

import diffusers
import pytest
import torch
from asyncdiff_api.formats.errors import InvalidJobError, WrongJobError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.generate import Generate, Scheduler
from asyncdiff_api.output import Format
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.arguments import arguments_of, scheduler_of
from asyncdiff_runtime.batch.generator import Batches
from asyncdiff_runtime.batch.inputs.loading import Pictures
from asyncdiff_runtime.batch.signature import check_job, check_line, signature_of
from support.jobs import job as document

GENERATE = Generate(prompts=("a",), steps=20, guidance_scale=5.0, options={"eta": 0.5})
MODEL = ModelIdentity(source="s", commit="c", dtype="float32")


def item(seed: int = 0, **line: object) -> WorkItem:
    resolver = Resolver(Shared(generate=GENERATE, model=MODEL, schedule={}))
    parsed = WorklistLine.model_validate({"prompt": "a fox", "seed": seed, **line})
    return next(resolver.items(Position(0, 1), parsed))


def arguments(*items: WorkItem) -> dict[str, Any]:
    signature = signature_of(diffusers.StableDiffusionXLPipeline)
    return arguments_of(items, [Pictures()] * len(items), GENERATE, signature)


def test_a_line_is_merged_over_the_job() -> None:
    merged = arguments(item(steps=30, options={"clip_skip": 1}))
    assert merged["num_inference_steps"] == 30
    assert merged["guidance_scale"] == 5.0
    assert (merged["eta"], merged["clip_skip"]) == (0.5, 1)
    assert "negative_prompt" not in merged
    assert "height" not in merged


def test_a_batch_gives_every_item_its_own_prompt_and_noise() -> None:
    items = [item(1), item(2, negativePrompt="blurry")]
    batch = arguments(*items)
    assert batch["negative_prompt"] == ["", "blurry"]
    noises = [torch.randn(4, generator=generator) for generator in batch["generator"]]
    alone = [torch.randn(4, generator=arguments(one)["generator"][0]) for one in items]
    assert all(map(torch.equal, noises, alone))
    assert not torch.equal(*noises)


def test_items_of_another_shape_are_in_another_batch() -> None:
    batches = Batches(2)
    items = [item(0), item(1, steps=30), item(2), item(3, steps=30), item(4)]
    full = [[one.seed for one in batch] for batch in batches.add(items)]
    assert full == [[0, 2], [1, 3]]
    assert [[one.seed for one in batch] for batch in batches.rest()] == [[4]]


@pytest.mark.parametrize(
    ("pipeline", "generate", "output", "said"),
    [
        (
            "StableDiffusionXLPipeline",
            {"options": {"guidance_rescal": 1}},
            "PNG",
            "did you mean guidance_rescale?",
        ),
        ("StableDiffusionXLPipeline", {"options": {"generator": 1}}, "PNG", "set by the job's own fields"),
        (
            "StableDiffusionXLPipeline",
            {"frames": 8},
            "MP4",
            "frames is set, and StableDiffusionXLPipeline has no num_frames",
        ),
        ("StableDiffusionXLPipeline", {}, "MP4", "makes pictures; choose PNG, JPEG or WebP"),
        ("AnimateDiffPipeline", {}, "PNG", "makes videos; choose MP4, WebM or Frames"),
        (
            "StableDiffusionXLPipeline",
            {"inputs": {"image": "s3://some-bucket/a.png"}},
            "PNG",
            "such as StableDiffusionXLImg2ImgPipeline",
        ),
        (
            "StableDiffusionPipeline",
            {"inputs": {"image": "s3://some-bucket/a.png", "mask": "s3://some-bucket/b.png"}},
            "PNG",
            "names the input image",
        ),
        (
            "StableDiffusionPipeline",
            {"inputs": {"control": "s3://some-bucket/a.png"}},
            "PNG",
            "add a ControlNet or T2IAdapter",
        ),
        ("StableDiffusionImg2ImgPipeline", {}, "PNG", "makes nothing without the input image"),
        ("StableVideoDiffusionPipeline", {}, "MP4", "makes nothing without the input image"),
        ("AnimateDiffVideoToVideoPipeline", {}, "MP4", "makes nothing without the input video"),
        (
            "StableDiffusionImg2ImgPipeline",
            {"inputs": {"image": "s3://some-bucket/a.png"}, "options": {"image": 1}},
            "PNG",
            "options.image is a picture",
        ),
    ],
)
def test_what_the_pipeline_does_not_take_is_named(
    pipeline: str, generate: dict[str, Any], output: str, said: str
) -> None:
    changes = {f"spec.generate.{name}": value for name, value in generate.items()}
    wanted = load(document({**changes, "spec.output.format": output})).spec.generate
    with pytest.raises(WrongJobError) as raised:
        check_job(wanted, Format(output), signature_of(getattr(diffusers, pipeline)))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("pipeline", "line", "said"),
    [
        ("StableVideoDiffusionPipeline", {"image": "s3://some-bucket/a.png"}, ""),
        (
            "StableVideoDiffusionPipeline",
            {"image": "s3://some-bucket/a.png", "prompt": "a fox"},
            "has a prompt, and StableVideoDiffusionPipeline takes none",
        ),
        (
            "StableDiffusionImg2ImgPipeline",
            {"image": "s3://some-bucket/a.png", "prompt": "a fox", "height": 64, "width": 64},
            "",
        ),
        ("StableDiffusionImg2ImgPipeline", {"prompt": "a fox"}, "nothing without the input image"),
        ("StableDiffusionInpaintPipeline", {"image": "s3://some-bucket/a.png"}, "without the input mask"),
        (
            "StableDiffusionPipeline",
            {"prompt": "a", "mask": "s3://some-bucket/a.png"},
            "names the input mask",
        ),
    ],
)
def test_a_line_must_name_what_the_pipeline_needs(pipeline: str, line: dict[str, Any], said: str) -> None:
    signature = signature_of(getattr(diffusers, pipeline))
    context = pytest.raises(WrongJobError, match=said) if said else contextlib.nullcontext()
    with context:
        check_line("line 1", WorklistLine.model_validate(line), Generate(), signature)


def test_a_scheduler_is_changed_as_asked_and_no_other_class_is_taken() -> None:
    own = diffusers.EulerDiscreteScheduler(beta_start=0.001)
    wanted = Scheduler.model_validate({"class": "DDIMScheduler", "config": {"timestep_spacing": "trailing"}})
    found = scheduler_of(wanted, own)
    assert isinstance(found, diffusers.DDIMScheduler)
    assert (found.config.beta_start, found.config.timestep_spacing) == (0.001, "trailing")
    with pytest.raises(InvalidJobError, match="no scheduler of diffusers"):
        scheduler_of(Scheduler.model_validate({"class": "AutoencoderKL"}), own)
