"""Makes pictures with a bundled model, scores them with the reader and lays them out on a sheet.

    PYTHONPATH=models python -m shapes.evaluate FOLDER --count 64 --sheet sheet.png --json record.json

Half of the pictures show scenes like those of the training, drawn anew; half begin with a combination of shape,
colour and texture that no training ever showed.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import platform
import random
from pathlib import Path
from typing import TYPE_CHECKING

import diffusers
import torch
from diffusers import DiffusionPipeline, StableDiffusion3Pipeline
from PIL import Image

from shapes.denoising import EMPTY_TOKENS
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
            some,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="pt",
            **fewest_tokens(pipe),
        )
        parts.append(made.images.float().cpu())
    return torch.cat(parts)


def fewest_tokens(pipe: DiffusionPipeline) -> dict[str, int]:
    """What to call a pipeline with so that a third encoder, which says nothing here, costs least."""
    return {"max_sequence_length": EMPTY_TOKENS[0]} if isinstance(pipe, StableDiffusion3Pipeline) else {}


def judge(reader: Reader, scenes: Sequence[Scene], pictures: torch.Tensor) -> list[Score]:
    """A score for each picture."""
    device = next(reader.net.parameters()).device
    readings = [reading for part in pictures.split(64) for reading in reader.read(part.to(device))]
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


def interleaved(first: torch.Tensor, second: torch.Tensor, columns: int = 8) -> torch.Tensor:
    """Rows of `columns` of the first batch, each followed by the same row of the second."""
    pairs = zip(first.split(columns), second.split(columns), strict=True)
    return torch.cat([row for pair in pairs for row in pair])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How pictures are made for a report."""

    count: int
    """Pictures of each kind."""
    batch: int = 256
    steps: int = 50
    guidance: float = 5.0


def report(
    pipe: DiffusionPipeline, reader: Reader, settings: Settings
) -> tuple[dict[str, dict[str, float]], torch.Tensor]:
    """Scores of familiar and of held-out scenes, and 64 pictures: those of `SHOWN`, then some of each."""
    made = functools.partial(
        paint, pipe, steps=settings.steps, guidance=settings.guidance, batch=settings.batch
    )
    results: dict[str, dict[str, float]] = {}
    shown = [made(SHOWN)]
    for name, held_out in (("familiar", False), ("held out", True)):
        scenes = scenes_of(settings.count, seed=0, held_out=held_out)
        rng = random.Random(7)
        pictures = made([describe(scene, rng) for scene in scenes])
        results[name] = average(judge(reader, scenes, pictures))
        shown.append(pictures[:28])
    return results, torch.cat(shown)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=64, help="pictures of each kind")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--device")
    parser.add_argument("--sheet", type=Path, help="where the contact sheet goes")
    parser.add_argument("--json", type=Path, help="where the record goes")
    arguments = parser.parse_args()
    device = device_of(arguments.device)
    pipe = DiffusionPipeline.from_pretrained(arguments.folder).to(device)
    pipe.set_progress_bar_config(disable=True)
    settings = Settings(
        count=arguments.count, batch=arguments.batch, steps=arguments.steps, guidance=arguments.guidance
    )
    results, shown = report(pipe, Reader.load(device), settings)
    record = {
        "program": "models/shapes/evaluate.py",
        "model": arguments.folder.name,
        "settings": dataclasses.asdict(settings),
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "scores": results,
    }
    print(json.dumps(record, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    if arguments.sheet:
        sheet_of(shown, 8).save(arguments.sheet)


if __name__ == "__main__":
    main()
