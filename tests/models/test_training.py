"""The training script runs from nothing to folders that load, goes on from them, and its tricks are exact."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from shapes.autoencoding import normalise
from shapes.denoising import SD3Task, UNetTask
from shapes.drawing import Sheet, draw
from shapes.layout import compose
from shapes.nets import LATENT_CHANNELS, SIZES, build_vae
from shapes.scenes import sample_scene
from shapes.tokens import LENGTH, load_tokenizer
from support.repository import ROOT

TINY = SIZES["tiny"]


def train(*arguments: str) -> None:
    command = [sys.executable, "-m", "shapes.train", "--size", "tiny", "--scenes", "16", "--batch", "4"]
    command += ["--device", "cpu", "--evaluated", "0", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "models"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_makes_pipelines_that_load_and_goes_on_from_them(tmp_path: Path) -> None:
    work = tmp_path / "first"
    reader = ("--reader", str(tmp_path / "reader.safetensors"), "--reader-seconds", "1")
    train("--work", str(work), *reader, "--vae-seconds", "1", "--denoiser-seconds", "1", "1")
    assert (tmp_path / "reader.safetensors").exists()
    for name in ("shapes-unet", "shapes-sd3"):
        pipe = DiffusionPipeline.from_pretrained(work / name)
        pipe.set_progress_bar_config(disable=True)
        pictures = pipe(["a red circle", "a blue star"], num_inference_steps=2, output_type="pt").images
        assert pictures.shape == (2, 3, 128, 128)
        assert pictures.isfinite().all()

    again = tmp_path / "again"
    start = ("--start", str(work / "shapes-unet"), "--models", "shapes-unet")
    train("--work", str(again), *start, "--vae-seconds", "0", "--denoiser-seconds", "1")
    first, second = (
        DiffusionPipeline.from_pretrained(folder / "shapes-unet").vae for folder in (work, again)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_autoencoder_is_kept_only_from_a_named_pipeline(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="name the pipeline that has it with --start"):
        train("--work", str(tmp_path), "--vae-seconds", "0")


@torch.no_grad()
def test_folding_the_scale_into_the_autoencoder_leaves_its_pictures_alone() -> None:
    torch.manual_seed(0)
    vae = build_vae(TINY).eval()
    scene = Sheet.of([compose(sample_scene(rng), rng) for rng in [random.Random(0)] * 8])
    pictures = draw(scene).pictures * 2 - 1
    before = vae.encode(pictures).latent_dist
    decoded = vae.decode(before.mean).sample
    normalise(vae, before.mean)
    after = vae.encode(pictures).latent_dist
    torch.testing.assert_close(vae.decode(after.mean).sample, decoded, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.mean.mean((0, 2, 3)), torch.zeros(LATENT_CHANNELS), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(LATENT_CHANNELS), atol=1e-4, rtol=0)
    scale = before.mean.std((0, 2, 3)).view(1, -1, 1, 1)
    torch.testing.assert_close(after.std * scale, before.std, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("count", [16, 256])
@torch.no_grad()
def test_one_weighted_token_stands_for_the_absent_encoders_many(count: int) -> None:
    torch.manual_seed(0)
    task = SD3Task(TINY, load_tokenizer())
    for parameter in task.transformer.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    task.empty.bias.fill_(math.log(count))
    width = 2 * TINY.text_width
    latents, words, pooled = (
        torch.randn(2, LATENT_CHANNELS, 32, 32),
        torch.randn(2, LENGTH, width),
        torch.randn(2, width),
    )
    times = torch.tensor([300.0, 700.0])

    def velocity(empty: int) -> torch.Tensor:
        embeds = torch.cat((words, torch.zeros(2, empty, width)), 1)
        predicted: torch.Tensor = task.transformer(latents, embeds, pooled, times).sample
        return predicted

    trained = velocity(1)
    task.published()
    torch.testing.assert_close(trained, velocity(count), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(trained, velocity(1), atol=1e-3), "the weight must matter for the claim to"


@pytest.mark.parametrize("kind", [UNetTask, SD3Task])
def test_the_loss_reaches_every_part_but_the_layer_that_no_pipeline_uses(
    kind: type[UNetTask] | type[SD3Task],
) -> None:
    torch.manual_seed(0)
    task = kind(TINY, load_tokenizer())
    task(torch.randn(8, LATENT_CHANNELS, 32, 32), torch.full((8, LENGTH), 5)).backward()
    idle = {name for name, parameter in task.named_parameters() if parameter.grad is None}
    last = f"layers.{TINY.text_layers[0] - 1}."
    assert all(last in name or "final_layer_norm" in name for name in idle)
    assert all(name.startswith("text_encoder.") for name in idle)
    assert bool(idle) == (kind is UNetTask)
