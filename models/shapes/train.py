r"""Trains the bundled models from nothing: autoencoder, then each denoiser with its text encoders; also the reader.

    PYTHONPATH=models python -m shapes.train --work out/shapes --models shapes-unet shapes-sd3

With the defaults this takes a quarter of an hour on one NVIDIA H200, and a quarter of it is compiling and measuring.
Every stage leaves its result in the work folder and is skipped when that is there; a broken stage goes on from its
last checkpoint. `--size tiny` tries every line on a CPU in a minute or two. More training of what there is:

    PYTHONPATH=models python -m shapes.train --work out/more --vae-seconds 0 --models shapes-unet \
        --start runtime/asyncdiff_runtime/bundled/shapes-unet --denoiser-seconds 300
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from safetensors.torch import save_file
from torch import nn

from shapes.autoencoding import encode_pool, fidelity, normalise, reconstructed, train_vae
from shapes.denoising import SD3Task, UNetTask
from shapes.drawing import Sheet
from shapes.evaluate import Settings, interleaved, report, sheet_of
from shapes.export import write_pipeline
from shapes.layout import compose
from shapes.loop import Plan, train
from shapes.nets import (
    LATENT_CHANNELS,
    LATENT_SIDE,
    SIZES,
    build_vae,
    device_of,
    parameters_of,
)
from shapes.pool import Pool
from shapes.reader import WEIGHTS, Reader
from shapes.reading import train_reader
from shapes.scenes import sample_scene
from shapes.tokens import LENGTH, load_tokenizer

TASKS: dict[str, Callable[..., UNetTask | SD3Task]] = {"shapes-unet": UNetTask, "shapes-sd3": SD3Task}

VAE_SCENES = 16_000


class Training:
    """The stages of one work folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work: Path = arguments.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.size = SIZES[arguments.size]
        self.device = device_of(arguments.device)
        self.begun = time.monotonic()
        self.making_pool = threading.Lock()
        self.tokenizer = load_tokenizer()

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        print(f"[{time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def pool(self) -> Pool:
        """The pool of scenes, made once."""
        path = self.work / "scenes.pt"
        with self.making_pool:
            if not path.exists():
                first_seed = self.arguments.seed * 1_000_000
                Pool.make(self.arguments.scenes, first_seed).save(path)
                self.say(f"scenes: made {self.arguments.scenes}")
        return Pool.load(path)

    def reader(self) -> None:
        """Trains the reader."""
        plan = Plan(seconds=self.arguments.reader_seconds, rate=3e-3, warmup=50, averaging=0.99)
        batch = self.arguments.batch // 4
        net = train_reader(plan, batch, self.arguments.scenes, self.work / "reader-training.pt", self.device)
        weights = {name: value.half().cpu().contiguous() for name, value in net.state_dict().items()}
        save_file(weights, self.arguments.reader)
        self.say("reader: trained")

    def autoencoder(self) -> AutoencoderKL:
        """The autoencoder, trained once, or that of the pipeline to start from."""
        folder = self.work / "vae" if self.arguments.vae_seconds else self.arguments.start / "vae"
        if not folder.exists():
            torch.manual_seed(0)
            vae = build_vae(self.size).to(self.device, memory_format=torch.channels_last)
            plan = Plan(seconds=self.arguments.vae_seconds, rate=1.5e-3, averaging=0.998)
            rng = random.Random(2)
            count = min(self.arguments.scenes, VAE_SCENES)
            sheet = Sheet.of([compose(sample_scene(rng), rng) for _ in range(count)])
            train_vae(vae, sheet, plan, self.arguments.batch // 4, self.work / "vae-training.pt")
            normalise(vae, encode_pool(vae, sheet[:8192]))
            sheet_of(interleaved(*reconstructed(vae, sheet[:32])).cpu(), 8).save(self.work / "vae.png")
            vae.to(memory_format=torch.contiguous_format).save_pretrained(folder)
            size = parameters_of(vae) / 1e6
            self.say(f"vae: trained, {size:.1f} M parameters, {fidelity(vae, sheet):.1f} dB")
        vae = AutoencoderKL.from_pretrained(folder)
        return vae.to(self.device, memory_format=torch.channels_last)

    def denoisers(self) -> None:
        """Trains the denoisers, one after the other, on the pool's latents, and writes their pipelines."""
        vae = self.autoencoder()
        pool = self.pool()
        latents, tokens = encode_pool(vae, pool.sheet), pool.tokens.to(self.device)
        self.say("vae: encoded the pool")
        for name, seconds in zip(self.arguments.models, self.arguments.denoiser_seconds, strict=True):
            folder = self.arguments.output / name
            if folder.exists():
                continue
            task = self.task(name)
            self.start(task)
            plan = Plan(
                seconds=seconds, deadline=self.begun + self.arguments.deadline, rate=self.arguments.rate
            )
            loss = loss_on(task, latents, tokens, self.arguments.batch)
            checkpoint = self.work / f"{name}-training.pt"
            train(nn.ModuleDict({"task": task}), loss, plan, checkpoint, task.prepare)
            write_pipeline(task, vae, self.tokenizer, folder)
            self.say(f"{name}: trained, {parameters_of(task) / 1e6:.1f} M parameters")
            self.evaluate(name)

    def start(self, task: UNetTask | SD3Task) -> None:
        """Takes over the weights of the pipeline to start from, or else the text encoders of our UNet."""
        for folder in (self.arguments.start, self.arguments.output / "shapes-unet"):
            if folder and folder.exists():
                task.load(folder)
                self.say(f"starts from {folder.name}")
                return

    def task(self, name: str) -> UNetTask | SD3Task:
        """A fresh denoiser with its text encoders, compiled on a GPU."""
        torch.manual_seed(self.arguments.seed)
        task = TASKS[name](self.size, self.tokenizer).to(self.device)
        if self.device.type == "cuda":
            task.to(memory_format=torch.channels_last)
            denoiser = task.unet if isinstance(task, UNetTask) else task.transformer
            denoiser.compile(dynamic=False)
        return task

    def evaluate(self, name: str) -> None:
        """Prints the scores of a written pipeline and draws its contact sheet."""
        if not self.arguments.evaluated:
            return
        pipe = DiffusionPipeline.from_pretrained(self.arguments.output / name).to(self.device)
        pipe.set_progress_bar_config(disable=True)
        reader = Reader.load(self.device, self.arguments.reader)
        results, shown = report(pipe, reader, Settings(count=self.arguments.evaluated))
        sheet_of(shown, 8).save(self.arguments.output / f"{name}.png")
        for kind, scores in results.items():
            self.say(f"{name}, {kind}: " + ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))


def loss_on(
    task: UNetTask | SD3Task, latents: torch.Tensor, tokens: torch.Tensor, batch: int
) -> Callable[[], torch.Tensor]:
    """The loss of a random batch, anew at each call."""
    device = latents.device

    def loss() -> torch.Tensor:
        rows = torch.randint(len(latents), (batch,), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            value: torch.Tensor = task(latents[rows].float(), tokens[rows])
            return value

    return loss


def fill_compile_cache(training: Training) -> None:
    """Compiles the denoisers on noise, so that the compiler works while other stages train."""
    batch = training.arguments.batch
    for name in training.arguments.models:
        task = training.task(name)
        latents = torch.randn(batch, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE, device=training.device)
        tokens = torch.full((batch, LENGTH), 1, device=training.device)
        for _ in range(2):
            loss_on(task, latents.half(), tokens, batch)().backward()
        training.say(f"{name}: compiled ahead")


def train_everything(training: Training) -> None:
    """Runs all stages; what needs nothing of the others runs beside them in a process of its own."""
    arguments = training.arguments
    beside: list[tuple[str, ...]] = [("reader",)] if arguments.reader_seconds else []
    if training.device.type == "cuda":
        beside += [("compile", "--models", name) for name in arguments.models]
    command = (sys.executable, "-m", "shapes.train", *sys.argv[1:])
    processes = {stage: subprocess.Popen((*command, "--only", *stage)) for stage in beside}
    # The scenes are made by processes; a thread waits for them.
    threading.Thread(target=training.pool).start()
    training.autoencoder()
    for stage, process in processes.items():
        if process.wait():
            raise SystemExit(f"The stage {' '.join(stage)} failed; its message stands above.")
    training.denoisers()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of stages and checkpoints")
    parser.add_argument("--output", type=Path, help="folder of the pipelines; the work folder if left out")
    parser.add_argument("--start", type=Path, help="a written pipeline to go on from, autoencoder included")
    parser.add_argument("--models", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=240_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--reader", type=Path, default=WEIGHTS, help="where the reader's weights are or go")
    parser.add_argument("--reader-seconds", type=float, default=0, help="0 keeps the reader at hand")
    parser.add_argument(
        "--vae-seconds", type=float, default=90, help="0 keeps the autoencoder of --start as it is"
    )
    parser.add_argument("--denoiser-seconds", type=float, nargs="+", default=[290, 290], help="one per model")
    parser.add_argument(
        "--deadline", type=float, default=math.inf, help="seconds after which no model trains on"
    )
    parser.add_argument("--evaluated", type=int, default=1024, help="pictures of each kind to score, or 0")
    parser.add_argument("--only", choices=("compile", "reader"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.vae_seconds == 0 and arguments.start is None:
        parser.error("--vae-seconds 0 keeps an autoencoder: name the pipeline that has it with --start")
    arguments.output = arguments.output or arguments.work
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    stages = {"compile": fill_compile_cache, "reader": Training.reader, None: train_everything}
    stages[arguments.only](Training(arguments))


if __name__ == "__main__":
    main()
