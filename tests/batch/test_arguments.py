"""What a pipeline is called with, item by item."""

from __future__ import annotations

import diffusers
import pytest
import torch
from asyncdiff_api.formats.errors import InvalidJobError, UnknownOptionError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.items import Resolver, Shared, WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.generate import Generate, Scheduler
from asyncdiff_runtime.batch.arguments import arguments_of, call_parameters, check_job, scheduler_of
from asyncdiff_runtime.batch.generator import Batches

GENERATE = Generate(prompts=("a",), steps=20, guidance_scale=5.0, options={"eta": 0.5})
MODEL = ModelIdentity(source="s", commit="c", dtype="float32")


def item(seed: int = 0, **line: object) -> WorkItem:
    resolver = Resolver(Shared(generate=GENERATE, model=MODEL, schedule={}))
    parsed = WorklistLine.model_validate({"prompt": "a fox", "seed": seed, **line})
    return next(resolver.items(Position(0, 1), parsed))


def test_a_line_is_merged_over_the_job() -> None:
    arguments = arguments_of([item(steps=30, options={"clip_skip": 1})], GENERATE)
    assert arguments["num_inference_steps"] == 30
    assert arguments["guidance_scale"] == 5.0
    assert (arguments["eta"], arguments["clip_skip"]) == (0.5, 1)
    assert "negative_prompt" not in arguments
    assert "height" not in arguments


def test_a_batch_gives_every_item_its_own_prompt_and_noise() -> None:
    items = [item(1), item(2, negativePrompt="blurry")]
    arguments = arguments_of(items, GENERATE)
    assert arguments["negative_prompt"] == ["", "blurry"]
    noises = [torch.randn(4, generator=generator) for generator in arguments["generator"]]
    alone = [torch.randn(4, generator=arguments_of([one], GENERATE)["generator"][0]) for one in items]
    assert all(map(torch.equal, noises, alone))
    assert not torch.equal(*noises)


def test_items_of_another_shape_are_in_another_batch() -> None:
    batches = Batches(2)
    items = [item(0), item(1, steps=30), item(2), item(3, steps=30), item(4)]
    full = [[one.seed for one in batch] for batch in batches.add(items)]
    assert full == [[0, 2], [1, 3]]
    assert [[one.seed for one in batch] for batch in batches.rest()] == [[4]]


@pytest.mark.parametrize(
    ("generate", "said"),
    [
        (Generate(prompts=("a",), options={"guidance_rescal": 1}), "did you mean guidance_rescale?"),
        (Generate(prompts=("a",), options={"generator": 1}), "set by the job's own fields"),
        (
            Generate(prompts=("a",), frames=8),
            "frames is set, and StableDiffusionXLPipeline has no num_frames",
        ),
    ],
)
def test_what_the_pipeline_does_not_take_is_named(generate: Generate, said: str) -> None:
    kind = diffusers.StableDiffusionXLPipeline
    with pytest.raises(UnknownOptionError, match=said.replace("?", r"\?")):
        check_job(generate, kind, call_parameters(kind))


def test_a_scheduler_is_changed_as_asked_and_no_other_class_is_taken() -> None:
    own = diffusers.EulerDiscreteScheduler(beta_start=0.001)
    wanted = Scheduler.model_validate({"class": "DDIMScheduler", "config": {"timestep_spacing": "trailing"}})
    found = scheduler_of(wanted, own)
    assert isinstance(found, diffusers.DDIMScheduler)
    assert (found.config.beta_start, found.config.timestep_spacing) == (0.001, "trailing")
    with pytest.raises(InvalidJobError, match="no scheduler of diffusers"):
        scheduler_of(Scheduler.model_validate({"class": "AutoencoderKL"}), own)
