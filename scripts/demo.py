"""`make demo`: runs the sample job with lookahead and once more sequentially, and says how they compare."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Final

import numpy as np
from asyncdiff_api.amounts import seconds
from asyncdiff_api.formats.layout import CONTACT_SHEET, GALLERY_INDEX, MANIFEST_LINES
from asyncdiff_api.formats.manifest import ItemRecord, read_records
from asyncdiff_runtime.cli.main import app
from PIL import Image

ROOT: Final = Path(__file__).parents[1]
JOB: Final = ROOT / "manifests" / "samples" / "demo.yaml"
AHEAD: Final = ROOT / "out" / "demo"
SEQUENTIAL: Final = ROOT / "out" / "demo-sequential"
SEQUENTIALLY: Final = ("spec.parallelism.strategy=Data", "spec.parallelism.lookahead=null")

Item = tuple[str, int]
"""Prompt and seed."""


@dataclass(frozen=True)
class Painted:
    """An item that was made."""

    record: ItemRecord
    picture: Image.Image


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run beside the sequential one."""

    psnr: tuple[float, ...]
    """Of each picture, in dB; 100 where both are equal."""
    turns: tuple[float, float]
    """Evaluations of a picture that wait for one another, here and sequentially."""
    picture_seconds: tuple[float, float]
    accuracy: tuple[Mapping[str, float], Mapping[str, float]]
    """Share of what the prompts ask for that the reader finds in the pictures."""


def run(folder: Path, *changes: str) -> None:
    """Runs the job into a folder, as a person would by the command that is printed.

    Raises:
        SystemExit: The run has failed, and has said why.
    """
    words = ["run", str(JOB.relative_to(ROOT)), "--output", str(folder.relative_to(ROOT))]
    words += [word for change in changes for word in ("--set", change)]
    print(f"\n$ asyncdiff {shlex.join(words)}", flush=True)
    code = app(["run", str(JOB), "--output", str(folder), *words[4:]], standalone_mode=False)
    if code:
        sys.exit(code)


def painted(folder: Path) -> dict[Item, Painted]:
    """Gives the items of a finished run that have a picture."""
    records = read_records((folder / MANIFEST_LINES).read_bytes(), MANIFEST_LINES)
    return {
        (record.prompt, record.seed): Painted(record, Image.open(folder / record.key).convert("RGB"))
        for record in records
        if record.key is not None
    }


def compare(made: Mapping[Item, Painted], truth: Mapping[Item, Painted]) -> Comparison:
    """Compares pictures with the sequential ones of the same prompts and seeds."""
    reports = [item.record.report or {} for item in made.values()]
    evaluations = fmean(_number(report.get("evaluations")) for report in reports)
    path = fmean(_number(report.get("criticalPath")) for report in reports)
    return Comparison(
        psnr=tuple(psnr(item.picture, truth[name].picture) for name, item in made.items()),
        turns=(path, evaluations),
        picture_seconds=(_median_seconds(made), _median_seconds(truth)),
        accuracy=(accuracy(made), accuracy(truth)),
    )


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Gives the peak signal-to-noise ratio of two pictures of 8 bits, in dB; 100 where they are equal."""
    error = np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else 100.0


def accuracy(made: Mapping[Item, Painted]) -> dict[str, float]:
    """Gives how much of what the prompts ask for the repository's reader finds, from 0 to 1 by kind."""
    import torch
    from shapes.prompts import parse
    from shapes.reader import Reader
    from shapes.scoring import average, score

    pixels = np.stack([np.asarray(item.picture, np.float32) / 255 for item in made.values()])
    readings = Reader.load().read(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    scenes = (parse(prompt) for prompt, _ in made)
    return average([score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)])


def table(found: Comparison) -> str:
    """Gives the comparison as lines of text."""
    rows = [
        ("", "lookahead", "sequential"),
        ("processes on one picture", "2", "1"),
        ("one picture", *(seconds(value) for value in found.picture_seconds)),
        ("turns one after the other", *(f"{value:.0f}" for value in found.turns)),
    ]
    for name, kind in (("shape", "shape"), ("colour", "colour"), ("position", "layout")):
        rows.append((f"{name} as asked", *(f"{shares[kind]:.0%}" for shares in found.accuracy)))
    lines = [f"{name:<26}{ours:>10}{theirs:>12}" for name, ours, theirs in rows]
    distance = f"{median(found.psnr):.1f} dB median, {min(found.psnr):.1f} dB worst of {len(found.psnr)}"
    return "\n".join([*lines, f"{'PSNR to sequential':<26}{distance}"])


def main() -> None:
    """Makes the demo's pictures twice and compares."""
    began = time.perf_counter()
    print(
        "Two processes look ahead on each picture, and then make the same pictures sequentially, to compare."
    )
    run(AHEAD)
    run(SEQUENTIAL, *SEQUENTIALLY)
    made, truth = painted(AHEAD), painted(SEQUENTIAL)
    print(f"\n{table(compare(made, truth))}")
    print(f"""
pictures      {AHEAD / "items"}
contact sheet {AHEAD / CONTACT_SHEET}
gallery       {AHEAD / GALLERY_INDEX}
              {seconds(time.perf_counter() - began)} in all; `rm -r out` makes it start anew""")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _median_seconds(made: Mapping[Item, Painted]) -> float:
    return median(item.record.seconds or 0.0 for item in made.values())


if __name__ == "__main__":
    main()
