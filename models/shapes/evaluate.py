"""Makes pictures with a bundled model, scores them with the reader and lays them out on a sheet.

python -m shapes.evaluate FOLDER --count 64 --sheet sheet.png
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from shapes.nets import device_of
from shapes.prompts import describe
from shapes.reader import Reader
from shapes.scenes import Scene, sample_scene
from shapes.scoring import Score, average, score

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = (
    "a large red circle left of a small blue striped square on a green background",
    "a small yellow star inside a large purple ring on a black background",
    "a row of a teal heart, a white star and a pink crescent on a blue background",
    "a large orange checkered heart in the center on a white background",
    "a large blue dotted crescent above a small red square on a yellow background",
    "a column of a red circle, a yellow circle and a green circle on a black background",
    "a big pink striped star in the middle on a purple background",
    "a small white heart right of a large teal dotted triangle on a pink background",
)


def scenes_of(count: int, seed: int, *, held_out: bool) -> list[Scene]:
    """Scenes never trained on: other draws, or with a held-out combination as their first thing."""
    rng = random.Random(1_000_003 * (seed + 1))
    return [sample_scene(rng, held_out=held_out) for _ in range(count)]


def paint(
    pipe: DiffusionPipeline, prompts: Sequence[str], steps: int, guidance: float, batch: int, seed: int = 0
) -> torch.Tensor:
    """Pictures `(count, 3, height, width)` from 0 to 1, on the CPU; item i starts from the noise of seed + i."""
    parts = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        generators = [torch.Generator("cpu").manual_seed(seed + start + index) for index in range(len(some))]
        made = pipe(
            some, num_inference_steps=steps, guidance_scale=guidance, generator=generators, output_type="pt"
        )
        parts.append(made.images.float().cpu())
    return torch.cat(parts)


def judge(reader: Reader, scenes: Sequence[Scene], pictures: torch.Tensor) -> list[Score]:
    """A score for each picture."""
    readings = [reading for part in pictures.split(64) for reading in reader.read(part)]
    return [score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]


def sheet_of(pictures: torch.Tensor, columns: int) -> Image.Image:
    """Pictures `(count, 3, height, width)` from 0 to 1 side by side, `columns` in a row."""
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    cells = torch.ones(rows * columns, channels, height, width)
    cells[:count] = pictures
    grid = cells.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = (grid.reshape(rows * height, columns * width, channels) * 255).round().clamp(0, 255).byte()
    return Image.fromarray(pixels.numpy())


def report(
    pipe: DiffusionPipeline,
    reader: Reader,
    count: int,
    *,
    batch: int = 128,
    steps: int = 50,
    guidance: float = 5.0,
) -> tuple[dict[str, dict[str, float]], torch.Tensor]:
    """Scores of familiar and of held-out scenes, and 64 pictures: those of `SHOWN`, then some of each."""
    results: dict[str, dict[str, float]] = {}
    shown = [paint(pipe, SHOWN, steps, guidance, batch)]
    for name, held_out in (("familiar", False), ("held out", True)):
        scenes = scenes_of(count, seed=0, held_out=held_out)
        rng = random.Random(7)
        begun = time.monotonic()
        pictures = paint(pipe, [describe(scene, rng) for scene in scenes], steps, guidance, batch)
        seconds = (time.monotonic() - begun) / count
        results[name] = average(judge(reader, scenes, pictures)) | {"seconds": seconds}
        shown.append(pictures[:28])
    return results, torch.cat(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--device")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    pipe = DiffusionPipeline.from_pretrained(arguments.folder).to(device_of(arguments.device))
    pipe.set_progress_bar_config(disable=True)
    results, shown = report(
        pipe,
        Reader.load(),
        arguments.count,
        batch=arguments.batch,
        steps=arguments.steps,
        guidance=arguments.guidance,
    )
    print(json.dumps(results, indent=2))
    if arguments.sheet:
        sheet_of(shown, 8).save(arguments.sheet)


if __name__ == "__main__":
    main()
