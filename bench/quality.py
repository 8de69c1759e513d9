"""How close is lookahead to the sequential picture, beside simply taking fewer steps at the same cost?

    python bench/quality.py FOLDER --seeds 256 --batch 64 --json results.json

FOLDER is any trained text-to-image pipeline in diffusers' layout (a model with random weights says nothing).
One process works off all ranks' parts, bit for bit as several would. Each schedule is compared with the
sequential sample of the same seed: PSNR on float pixels and relative L2 of the latents, median and fifth
percentile over the seeds. Cost is in evaluations one after the other.
"""

import argparse
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from asyncdiff_runtime.engine import Lookahead, parallelize
from torch import Tensor

_SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "crescent")
_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
_PLACES = ("left of", "right of", "above", "below")


def prompt(seed: int) -> str:
    """A sentence for each seed."""
    first, second = _SHAPES[seed % 8], _SHAPES[(seed // 8 + 3) % 8]
    ink, paint = _COLOURS[(seed * 3) % 8], _COLOURS[(seed * 5 + 1) % 8]
    return f"a large {ink} {first} {_PLACES[seed % 4]} a small {paint} {second} on a gray background"


@dataclass(frozen=True)
class Schedule:
    """One way to make a picture; `lookahead` is None for the plain loop."""

    name: str
    steps: int
    lookahead: Lookahead | None = None


@dataclass(frozen=True)
class Samples:
    """Latents and pixels of all seeds, and the evaluations that one picture takes one after the other."""

    latents: Tensor
    pixels: Tensor
    path: float


def generate(pipe: Any, schedule: Schedule, seeds: int, batch: int) -> Samples:
    """Samples every seed under a schedule."""
    latents, paths = [], []
    for start in range(0, seeds, batch):
        some = range(start, min(seeds, start + batch))
        call: dict[str, Any] = {
            "prompt": [prompt(seed) for seed in some],
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in some],
            "num_inference_steps": schedule.steps,
            "guidance_scale": 5.0,
            "output_type": "latent",
        }
        if schedule.lookahead is None:
            latents.append(pipe(**call).images)
            paths.append(schedule.steps)
            continue
        with parallelize(pipe, schedule.lookahead) as parallel:
            latents.append(pipe(**call).images)
        report = parallel.report
        assert report is not None
        paths.append(report.critical_path)
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
    """Distances to the sequential samples."""
    error = (samples.pixels - truth.pixels).flatten(1).pow(2).mean(1)
    psnr = -10 * torch.log10(error.clamp_min(1e-12))
    relative = (samples.latents - truth.latents).flatten(1).norm(dim=1) / truth.latents.flatten(1).norm(dim=1)
    return {
        "psnrMedian": psnr.median().item(),
        "psnrP5": psnr.quantile(0.05).item(),
        "latentRelativeL2Median": relative.median().item(),
    }


def schedules(steps: int) -> list[Schedule]:
    """Degree × tolerance, and fewer steps at about the same costs."""
    asked = [(2, 0.03), (2, 0.1), (2, float("inf")), (3, float("inf")), (4, float("inf"))]
    rows = [
        Schedule(
            f"lookahead {degree}, tolerance {tolerance}",
            steps,
            Lookahead(degree=degree, tolerance=tolerance, warmup=3, exact_tail=2),
        )
        for degree, tolerance in asked
    ]
    return rows + [Schedule(f"{n} steps", n) for n in (44, 38, 33, 28, 23, 20, 17)]


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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = diffusers.DiffusionPipeline.from_pretrained(options.folder, torch_dtype=torch.float32).to(device)
    pipe.set_progress_bar_config(disable=True)
    truth = generate(pipe, Schedule("sequential", options.steps), options.seeds, options.batch)
    rows: list[dict[str, Any]] = []
    for schedule in schedules(options.steps):
        samples = generate(pipe, schedule, options.seeds, options.batch)
        rows.append({"schedule": schedule.name, "path": samples.path, **compare(samples, truth)})
        print(
            "{schedule:30} path {path:5.1f}  PSNR {psnrMedian:5.1f} / {psnrP5:5.1f} dB".format(**rows[-1]),
            flush=True,
        )
    if options.json:
        record = {
            "program": "bench/quality.py",
            "model": options.folder.name,
            "steps": options.steps,
            "seeds": options.seeds,
            "batch": options.batch,
            "machine": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
            "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
            "rows": rows,
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
