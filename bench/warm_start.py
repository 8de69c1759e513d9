"""Seconds from a process's start to its first picture, with an empty and with a warm cache of compiled parts.

    .venv/bin/python bench/warm_start.py --json bench/results/warm-start-shapes-unet.json

Each row is a process of its own that imports, loads the bundled UNet model and makes one picture, cold with an empty
folder and warm with what the cold one left. Loading of weights is measured and not counted. Inductor's own folder is
empty each time, as in a new pod. Rows:

| row | what |
| --- | --- |
| modules | no compiler: the least that a start can take |
| captured, inductor, cold | the denoiser captured, hoisted and compiled |
| captured, inductor, warm | captured and hoisted; its compiled part is found in the folder |
| torch.compile, cold | the denoiser's forward under torch.compile |
| torch.compile, warm | the same with inductor's own folder as the cold process left it |
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = Path(__file__).parent.parent / "runtime/asyncdiff_runtime/bundled/shapes-unet"


def first_picture(how: str, cache: Path, steps: int, began: float) -> dict[str, float]:
    """What the process of a row does; `began` is the clock at its start."""
    import torch  # as late as a program may import it: its time is counted
    from asyncdiff_runtime.engine import Exact, parallelize
    from asyncdiff_runtime.engine.graph.options import Capture, Lowering
    from diffusers import StableDiffusionXLPipeline

    loading = time.time()
    pipe = StableDiffusionXLPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    loaded = time.time()
    arguments: dict[str, Any] = {"compile": "auto"} if how == "torch.compile" else {}
    if how == "captured":
        arguments = {"capture": Capture(lowering=Lowering.INDUCTOR, cache=cache)}
    seconds = []
    with parallelize(pipe, Exact(), **arguments):
        for _ in range(2):
            drawing = time.time()
            generator = torch.Generator("cpu").manual_seed(0)
            pipe("a red circle above a blue square", num_inference_steps=steps, generator=generator)
            seconds.append(time.time() - drawing)
    return {
        "secondsToFirstPicture": loaded - began - (loaded - loading) + seconds[0],
        "secondsLoading": loaded - loading,
        "secondsOfFirstPicture": seconds[0],
        "secondsOfSecondPicture": seconds[1],
    }


def measured(how: str, cache: Path, inductor: Path, steps: int) -> dict[str, float]:
    """The figures of one row's process."""
    command = [sys.executable, __file__, "--child", how, "--cache", str(cache), "--steps", str(steps)]
    variables = {"TORCHINDUCTOR_CACHE_DIR": str(inductor), "TQDM_DISABLE": "1", "BEGAN": repr(time.time())}
    process = subprocess.run(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, check=True, text=True
    )
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def main() -> None:
    options = _options()
    if options.child:
        figures = first_picture(options.child, options.cache, options.steps, float(os.environ["BEGAN"]))
        print(json.dumps(figures))
        return
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # Once for nothing, so that no row reads torch from the disk for the others.
        measured("modules", root / "none", root / "0", 2)
        for row, how, inductor in (
            ("modules", "modules", "1"),
            ("captured, inductor, cold", "captured", "2"),
            ("captured, inductor, warm", "captured", "3"),
            ("torch.compile, cold", "torch.compile", "4"),
            ("torch.compile, warm", "torch.compile", "4"),
        ):
            rows[row] = measured(how, root / "cache", root / inductor, options.steps)
            print(f"{row:26} {rows[row]['secondsToFirstPicture']:8.1f} s", flush=True)
        kept = sum(path.stat().st_size for path in (root / "cache").iterdir())
    share = (
        rows["captured, inductor, warm"]["secondsToFirstPicture"]
        / rows["captured, inductor, cold"]["secondsToFirstPicture"]
    )
    print(f"warm takes {share:.1%} of cold; the cache holds {kept / 1e6:.1f} MB")
    if options.json:
        options.json.write_text(json.dumps(_record(options.steps, rows, share, kept), indent=2) + "\n")


def _record(steps: int, rows: dict[str, dict[str, float]], share: float, kept: int) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "program": "bench/warm_start.py",
        "model": MODEL.name,
        "steps": steps,
        "machine": {"device": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
        "versions": {name: version(name) for name in ("torch", "diffusers")}
        | {"python": platform.python_version()},
        "rows": rows,
        "warmShareOfCold": share,
        "cacheBytes": kept,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--child", choices=["modules", "captured", "torch.compile"], help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
