"""Seconds for one picture: ours by strategy, beside diffusers eager and compiled, measured in the same run.

    torchrun --nproc_per_node=4 bench/latency.py sdxl --compile auto
    torchrun --nproc_per_node=2 bench/latency.py tiny-sdxl --repeats 3        # CPU, gloo

Weights are random: the figures speak of speed, never of quality. Foretold evaluations are therefore always
accepted (`--tolerance inf`), which is the published timetable: W exact, pairs, K exact. Text encoding and
VAE are left out. Rank 0 prints a table and writes JSON with machine and versions.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.distributed as dist
from asyncdiff_runtime.engine import Exact, Lookahead, Strategy, parallelize
from asyncdiff_runtime.engine.lowering import Compile, lowered
from asyncdiff_runtime.engine.mesh import join

_SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
}
_TINY: dict[str, Any] = {
    "block_out_channels": (32, 64, 64),
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": (2, 4, 4),
    "cross_attention_dim": 64,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 96,
    "norm_num_groups": 8,
    "sample_size": 16,
}


@dataclass(frozen=True)
class Subject:
    """A pipeline with random weights, and the arguments of its call."""

    pipe: Any
    call: dict[str, Any]


def sdxl(config: dict[str, Any], pooled: int, device: torch.device, dtype: torch.dtype) -> Subject:
    """A StableDiffusionXLPipeline without text encoders; 8 pixels a latent."""
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(dtype)
        unet = diffusers.UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=2,
            addition_embed_type="text_time",
            use_linear_projection=True,
            **config,
        )
        vae = diffusers.AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            norm_num_groups=8,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        torch.set_default_dtype(torch.float32)
    pipe = diffusers.StableDiffusionXLPipeline(
        vae.eval(),
        None,
        None,
        None,
        None,
        unet.eval().requires_grad_(False),
        diffusers.EulerDiscreteScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            timestep_spacing="leading",
            steps_offset=1,
        ),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator(device).manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)

    side = config["sample_size"] * 8
    call = {
        "prompt_embeds": noise(1, 77, config["cross_attention_dim"]),
        "negative_prompt_embeds": noise(1, 77, config["cross_attention_dim"]),
        "pooled_prompt_embeds": noise(1, pooled),
        "negative_pooled_prompt_embeds": noise(1, pooled),
        "height": side,
        "width": side,
        "guidance_scale": 5.0,
        "output_type": "latent",
    }
    return Subject(pipe, call)


def subject(name: str, device: torch.device) -> Subject:
    """The pipeline of that name, on the device."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return sdxl(_SDXL, 1280, device, dtype) if name == "sdxl" else sdxl(_TINY, 48, device, dtype)


@contextmanager
def compiled(pipe: Any, how: Compile) -> Iterator[None]:
    """The rival: the same denoiser under torch.compile, in diffusers' own loop."""
    plain = pipe.unet.forward
    pipe.unet.forward = lowered(plain, how)
    try:
        yield
    finally:
        del pipe.unet.__dict__["forward"]


def seconds(run: Callable[[], Any], repeats: int, device: torch.device) -> list[float]:
    """Wall-clock of each of `repeats` runs after two that warm up, ranks in step."""
    took = []
    for turn in range(repeats + 2):
        if dist.is_initialized():
            dist.barrier()
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn > 1:
            took.append(time.perf_counter() - began)
    return took


def main() -> None:
    options = _options()
    device = join("cuda" if torch.cuda.is_available() else "cpu")
    world = dist.get_world_size() if dist.is_initialized() else 1
    case = subject(options.model, device)
    how = Compile(options.compile)

    def generate() -> Any:
        generator = torch.Generator("cpu").manual_seed(0)
        return case.pipe(**case.call, num_inference_steps=options.steps, generator=generator).images

    lookahead = Lookahead(degree=2, tolerance=options.tolerance, warmup=3, exact_tail=2)
    strategies: dict[str, Strategy] = {}
    if world % 2 == 0:
        name = "lookahead 2" if world == 2 else f"guidance {world // 2} × lookahead 2"
        strategies[name] = lookahead
        # The same timetable, with the comparison that a finite tolerance waits for at each foretold evaluation.
        strategies[f"{name}, compared"] = replace(lookahead, tolerance=1e9)
        strategies[f"exact, guidance {world}"] = Exact()
    rows = []
    for lowering in dict.fromkeys([Compile.OFF, how]):
        with compiled(case.pipe, lowering):
            rows.append(_row("sequential", lowering, seconds(generate, options.repeats, device), None))
        for name, strategy in strategies.items():
            if world > 2 and isinstance(strategy, Exact):
                continue
            with parallelize(case.pipe, strategy, compile=lowering) as parallel:
                took = seconds(generate, options.repeats, device)
                rows.append(_row(name, lowering, took, parallel.report))
    if not dist.is_initialized() or dist.get_rank() == 0:
        _publish(options, world, device, rows)
    if dist.is_initialized():
        dist.destroy_process_group()


def _row(name: str, lowering: Compile, took: list[float], report: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "strategy": name,
        "compile": str(lowering),
        "seconds": statistics.median(took),
        "spread": max(took) - min(took),
    }
    if report is not None:
        row |= {
            "evaluations": report.evaluations,
            "criticalPath": report.critical_path,
            "accepted": report.accepted,
            "waitingMillisecondsPerEvaluation": report.waiting_seconds * 1000 / report.evaluations,
        }
    return row


def _publish(
    options: argparse.Namespace, world: int, device: torch.device, rows: list[dict[str, Any]]
) -> None:
    base = {row["compile"]: row["seconds"] for row in rows if row["strategy"] == "sequential"}
    for row in rows:
        row["timesSequential"] = base[row["compile"]] / row["seconds"]
        print(
            f"{row['strategy']:26} {row['compile']:8} {row['seconds']:8.4f} s  ± {row['spread']:.4f}  "
            f"{row['timesSequential']:5.2f} ×  path {row.get('criticalPath', options.steps):>5}  "
            f"waiting {row.get('waitingMillisecondsPerEvaluation', 0.0):6.3f} ms",
            flush=True,
        )
    machine = (
        torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    )
    record = {
        "program": "bench/latency.py",
        "model": options.model,
        "steps": options.steps,
        "weights": "random",
        "machine": {"device": machine, "ranks": world, "cpus": os.cpu_count()},
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "python": platform.python_version(),
        },
        "rows": rows,
    }
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=["sdxl", "tiny-sdxl"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=float("inf"))
    parser.add_argument("--compile", default="off", choices=[str(how) for how in Compile])
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
