"""How close do strategies stay to the sequential picture, beside simply taking fewer steps at the same cost?

    PYTHONPATH=models python bench/quality.py FOLDER --seeds 256 --batch 64 --json results.json

FOLDER is one of the models that the repository carries (a model with random weights says nothing).
One process works off all ranks' parts, bit for bit as several would. Each schedule is compared with the
sequential sample of the same seed: PSNR on float pixels and relative L2 of the latents, median and worst
twentieth of the seeds; and its pictures are read, as those of `shapes.evaluate` are: how many show what the
prompt says? Cost is in evaluations one after the other; a stale one of stages costs what its slowest stage does if
the cut is even, 1 / (1 + stride (stages - 1)) of a whole one.
"""

import argparse
import json
import math
import platform
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from asyncdiff_runtime.engine import AsyncStages, Lookahead, Report, parallelize
from shapes.evaluate import fewest_tokens, judge, scenes_of
from shapes.prompts import describe
from shapes.reader import Reader
from shapes.scenes import Scene
from shapes.scoring import average
from torch import Tensor


def scenes_and_prompts(seeds: int) -> list[tuple[Scene, str]]:
    """A scene for each seed, as in training but drawn anew, and its prompt."""
    rng = random.Random(11)
    return [(scene, describe(scene, rng)) for scene in scenes_of(seeds, seed=2, held_out=False)]


@dataclass(frozen=True)
class Schedule:
    """One way to make a picture; `strategy` is None for the plain loop."""

    name: str
    steps: int
    strategy: Lookahead | AsyncStages | None = None

    def path(self, report: Report) -> float:
        """Evaluations that a generation took one after the other."""
        if not isinstance(self.strategy, AsyncStages):
            return report.critical_path
        share = 1 / (1 + self.strategy.stride * (self.strategy.stages - 1))
        return report.evaluations - report.stale * (1 - share)


@dataclass(frozen=True)
class Samples:
    """Latents and pixels of all seeds, and the evaluations that one picture takes one after the other."""

    latents: Tensor
    pixels: Tensor
    path: float


def generate(pipe: Any, schedule: Schedule, prompts: list[str], batch: int) -> Samples:
    """Samples every prompt under a schedule; the seed of each is its place."""
    latents: list[Tensor] = []
    paths: list[float] = []
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        call: dict[str, Any] = {
            "prompt": some,
            "generator": [torch.Generator("cpu").manual_seed(start + index) for index in range(len(some))],
            "num_inference_steps": schedule.steps,
            "guidance_scale": 5.0,
            "output_type": "latent",
            **fewest_tokens(pipe),
        }
        if schedule.strategy is None:
            latents.append(pipe(**call).images)
            paths.append(schedule.steps)
            continue
        with parallelize(pipe, schedule.strategy) as parallel:
            latents.append(pipe(**call).images)
        report = parallel.report
        assert report is not None
        paths.append(schedule.path(report))
    made = torch.cat(latents)
    return Samples(
        made, torch.cat([decode(pipe, part) for part in made.split(batch)]), sum(paths) / len(paths)
    )


@torch.no_grad()
def decode(pipe: Any, latents: Tensor) -> Tensor:
    """Float pixels in [0, 1], `(batch, 3, height, width)`."""
    vae = pipe.vae
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    pixels: Tensor = vae.decode(latents / vae.config.scaling_factor + shift).sample
    return (pixels / 2 + 0.5).clamp(0, 1).float()


def compare(samples: Samples, truth: Samples) -> dict[str, float]:
    """Distances to the sequential samples; the worst twentieth begins at P5 of what should be great, else P95."""
    error = (samples.pixels - truth.pixels).flatten(1).pow(2).mean(1)
    psnr = -10 * torch.log10(error.clamp_min(1e-12))
    relative = (samples.latents - truth.latents).flatten(1).norm(dim=1) / truth.latents.flatten(1).norm(dim=1)
    return {
        "psnrMedian": psnr.median().item(),
        "psnrP5": psnr.quantile(0.05).item(),
        "latentRelativeL2Median": relative.median().item(),
        "latentRelativeL2P95": relative.quantile(0.95).item(),
    }


def accuracy(samples: Samples, scenes: list[Scene], reader: Reader) -> dict[str, float]:
    """Shares of shapes, colours and layouts that are as asked, and of pictures that are so in everything."""
    shares = average(judge(reader, scenes, samples.pixels))
    return {name: shares[name] for name in ("shape", "colour", "layout", "faithful")}


def schedules(steps: int) -> list[Schedule]:
    """Degrees, each followed by fewer steps at its cost (for 50 steps); then stages, tolerances, other step counts."""

    def ahead(degree: int, tolerance: float) -> Schedule:
        lookahead = Lookahead(degree=degree, tolerance=tolerance, warmup=3, exact_tail=2)
        return Schedule(f"lookahead {degree}, tolerance {tolerance}", steps, lookahead)

    def stages(count: int, stride: int) -> Schedule:
        strategy = AsyncStages(stages=count, stride=stride, warmup=3, exact_tail=2)
        return Schedule(f"stages {count}, stride {stride}", steps, strategy)

    pairs = [(ahead(degree, math.inf), fewer(cost)) for degree, cost in ((2, 28), (3, 20), (4, 17))]
    cuts = [stages(count, stride) for count in (2, 4) for stride in (1, 2)]
    rest = [ahead(2, 0.03), ahead(2, 0.1), *(fewer(cost) for cost in (11, 44, 38, 33, 23))]
    return [schedule for pair in pairs for schedule in pair] + cuts + rest


def fewer(steps: int) -> Schedule:
    """The plain loop."""
    return Schedule(f"{steps} steps", steps)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=256)
    parser.add_argument(
        "--batch", type=int, default=1, help="seeds a call; a finite tolerance holds for all of them"
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", default="", help="a word of the rows to measure, such as stages")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = diffusers.DiffusionPipeline.from_pretrained(options.folder, torch_dtype=torch.float32).to(device)
    pipe.set_progress_bar_config(disable=True)
    pairs = scenes_and_prompts(options.seeds)
    scenes, prompts = [scene for scene, _ in pairs], [prompt for _, prompt in pairs]
    reader = Reader.load(device)
    truth = generate(pipe, Schedule("sequential", options.steps), prompts, options.batch)
    rows: list[dict[str, Any]] = []
    record = {
        "program": "bench/quality.py",
        "model": options.folder.name,
        "steps": options.steps,
        "seeds": options.seeds,
        "batch": options.batch,
        "machine": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "sequential": accuracy(truth, scenes, reader),
        "rows": rows,
    }
    for schedule in schedules(options.steps):
        if options.only not in schedule.name:
            continue
        samples = generate(pipe, schedule, prompts, options.batch)
        read = accuracy(samples, scenes, reader)
        rows.append({"schedule": schedule.name, "path": samples.path, **compare(samples, truth), **read})
        line = "{schedule:30} path {path:5.1f}  PSNR {psnrMedian:5.1f} / {psnrP5:5.1f} dB  faithful {faithful:.3f}"
        print(line.format(**rows[-1]), flush=True)
        if options.json:
            # After each row: what was measured stays when time runs out.
            options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
