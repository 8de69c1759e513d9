"""`make demo`: runs the sample job with lookahead and once more sequentially, and says how they compare."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from asyncdiff_runtime.media.sheet import contact_sheet
from PIL import Image

ROOT = Path(__file__).parents[1]
JOB = ROOT / "manifests" / "samples" / "demo.yaml"
OUTPUT = ROOT / "out"


def run(folder: Path, *changes: str) -> float:
    """Runs the job into a folder; gives the seconds it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "asyncdiff_runtime.cli", "run", str(JOB), "--output", str(folder)]
    for change in changes:
        command += ["--set", change]
    subprocess.run(command, check=True)  # noqa: S603 -- our own command line
    return time.perf_counter() - began


def pictures(folder: Path) -> dict[tuple[str, int], tuple[Image.Image, dict[str, Any]]]:
    """Each item's picture and its line of the manifest, by prompt and seed."""
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return {(line["prompt"], line["seed"]): (Image.open(folder / line["key"]), line) for line in lines}


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of 8 bits, in dB; 100 where they are equal."""
    error = np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else 100.0


def main() -> None:
    """Makes the demo's pictures twice and compares."""
    ahead, plain = OUTPUT / "demo", OUTPUT / "demo-sequential"
    print("With lookahead, two processes on each picture:", flush=True)
    run(ahead)
    print("\nThe same job sequentially, to compare:", flush=True)
    run(plain, "spec.parallelism.strategy=Data", "spec.parallelism.lookahead=null")
    made, truth = pictures(ahead), pictures(plain)
    distances = [psnr(made[key][0], truth[key][0]) for key in made]
    reports = [line["report"] for _, line in made.values()]
    sheet = ahead / "contact-sheet.png"
    contact_sheet([picture for picture, _ in made.values()], 3, [prompt for prompt, _ in made]).save(sheet)
    path = sum(report["criticalPath"] for report in reports) / len(reports)
    print(f"""
pictures       {ahead / "items"}
contact sheet  {sheet}
gallery        {ahead / "gallery" / "index.html"}
turns          {path:.0f} one after the other in place of {reports[0]["evaluations"]}
to sequential  PSNR {np.median(distances):.1f} dB median, {min(distances):.1f} dB worst of {len(distances)}""")


if __name__ == "__main__":
    main()
