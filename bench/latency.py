"""Seconds for one picture: ours by strategy, beside diffusers eager and compiled, measured in the same run.

    python bench/latency.py sdxl                                              # one GPU
    torchrun --nproc_per_node=4 bench/latency.py sdxl
    torchrun --nproc_per_node=2 bench/latency.py tiny-sdxl --repeats 3        # CPU, gloo

Each strategy, the sequential picture first, is measured with the denoiser run in several ways:

| run by | what |
| --- | --- |
| off | diffusers' modules, eagerly |
| auto | torch.compile of the denoiser, with CUDA graphs ("reduce-overhead") |
| captured inductor | the denoiser's captured graph, hoisted and compiled, as a CUDA graph |

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
from asyncdiff_runtime.engine import AsyncStages, Exact, Lookahead, Strategy, parallelize
from asyncdiff_runtime.engine.graph.options import Capture, Lowering
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
_FLUX: dict[str, Any] = {"joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True}
_TINY_FLUX: dict[str, Any] = {
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
    "axes_dims_rope": (4, 4, 8),
    "guidance_embeds": True,
}
_SD3: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
_TINY_SD3: dict[str, Any] = {
    "sample_size": 16,
    "num_layers": 4,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": 64,
    "pooled_projection_dim": 64,
    "pos_embed_max_size": 32,
}
STEPS = {"sdxl": 50, "flux": 28, "sd3": 28}
"""Of each model, as its authors call it."""


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


def flux(config: dict[str, Any], side: int, device: torch.device, dtype: torch.dtype) -> Subject:
    """A FluxPipeline without text encoders and VAE."""
    transformer = _made(lambda: diffusers.FluxTransformer2DModel(**config), device, dtype)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe = diffusers.FluxPipeline(scheduler, None, None, None, None, None, transformer)
    pipe.set_progress_bar_config(disable=True)
    call = {
        "prompt_embeds": _noise(device, dtype, 1, 512, transformer.config.joint_attention_dim),
        "pooled_prompt_embeds": _noise(device, dtype, 1, transformer.config.pooled_projection_dim),
        "height": side,
        "width": side,
        "guidance_scale": 3.5,
        "output_type": "latent",
    }
    return Subject(pipe, call)


def sd3(config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Subject:
    """A StableDiffusion3Pipeline without text encoders and VAE."""
    transformer = _made(lambda: diffusers.SD3Transformer2DModel(**config), device, dtype)
    pipe = diffusers.StableDiffusion3Pipeline(
        transformer, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), *(None,) * 7
    )
    pipe.set_progress_bar_config(disable=True)
    side = config["sample_size"] * 8
    call = {"height": side, "width": side, "guidance_scale": 7.0, "output_type": "latent"}
    for name in ("prompt_embeds", "negative_prompt_embeds"):
        call[name] = _noise(device, dtype, 1, 333, transformer.config.joint_attention_dim)
        call[name.replace("prompt", "pooled_prompt")] = _noise(
            device, dtype, 1, transformer.config.pooled_projection_dim
        )
    return Subject(pipe, call)


def _made(make: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> Any:
    """A module with random weights, made where and as it is used."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        module = make()
    torch.set_default_dtype(torch.float32)
    return module.eval().requires_grad_(False)


def _noise(device: torch.device, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator(device).manual_seed(1), device=device, dtype=dtype)


def subject(name: str, device: torch.device) -> Subject:
    """The pipeline of that name, on the device."""
    on_gpu = device.type == "cuda"
    half, brain = (torch.float16, torch.bfloat16) if on_gpu else (torch.float32, torch.float32)
    make: dict[str, Callable[[], Subject]] = {
        "sdxl": lambda: sdxl(_SDXL, 1280, device, half),
        "tiny-sdxl": lambda: sdxl(_TINY, 48, device, half),
        "flux": lambda: flux(_FLUX, 1024, device, brain),
        "tiny-flux": lambda: flux(_TINY_FLUX, 128, device, brain),
        "sd3": lambda: sd3(_SD3, device, half),
        "tiny-sd3": lambda: sd3(_TINY_SD3, device, half),
    }
    return make[name]()


@contextmanager
def compiled(pipe: Any, how: Compile) -> Iterator[None]:
    """The rival: the same denoiser under torch.compile, in diffusers' own loop."""
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    plain = denoiser.forward
    denoiser.forward = lowered(plain, how)
    try:
        yield
    finally:
        del denoiser.__dict__["forward"]


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
    steps = options.steps or STEPS[options.model.removeprefix("tiny-")]

    def generate() -> Any:
        generator = torch.Generator("cpu").manual_seed(0)
        return case.pipe(**case.call, num_inference_steps=steps, generator=generator).images

    rows = []
    for strategy, how in _cases(options, world):
        if strategy == "sequential" and isinstance(how, Compile):
            with compiled(case.pipe, how):
                rows.append(_row(strategy, str(how), seconds(generate, options.repeats, device), None))
            continue
        asked = _strategies(world, options.tolerance)[strategy]
        modules, graph, named = (
            (how, None, str(how))
            if isinstance(how, Compile)
            else (Compile.OFF, how, f"captured {how.lowering}")
        )
        with parallelize(case.pipe, asked, compile=modules, capture=graph) as parallel:
            took = seconds(generate, options.repeats, device)
            rows.append(_row(strategy, named, took, parallel.report))
        if not dist.is_initialized() or dist.get_rank() == 0:
            print(rows[-1]["strategy"], rows[-1]["runBy"], f"{rows[-1]['seconds']:.4f} s", flush=True)
    if not dist.is_initialized() or dist.get_rank() == 0:
        _publish(options, steps, world, device, rows)
    if dist.is_initialized():
        dist.destroy_process_group()


def _strategies(world: int, tolerance: float) -> dict[str, Strategy]:
    """What a number of ranks can do, by name; those that need guidance are named after it."""
    lookahead = Lookahead(degree=2, tolerance=tolerance, warmup=3, exact_tail=2)
    found: dict[str, Strategy] = {"sequential": Exact()}
    groups = world // 2
    if world % 2 == 0:
        name = "lookahead 2" if groups == 1 else f"guidance {groups} × lookahead 2"
        found[name] = lookahead
        # The same timetable, with the comparison that a finite tolerance waits for at each foretold evaluation.
        found[f"{name}, compared"] = replace(lookahead, tolerance=1e9)
        if groups > 1:
            found[f"guidance {groups} × stages 2"] = AsyncStages(stages=2)
    if world == 2:
        found["guidance 2"] = Exact()
    if world > 1:
        found[f"stages {world}"] = AsyncStages(stages=world)
        found[f"stages {world}, stride 2"] = AsyncStages(stages=world, stride=2)
    return found


def _cases(options: argparse.Namespace, world: int) -> Iterator[tuple[str, Compile | Capture]]:
    """What is measured, and by what the denoiser is then run: stages are parts of a captured graph."""
    compiled_modules = Compile(options.compile)
    for name, strategy in _strategies(world, options.tolerance).items():
        # FLUX has no guidance to split.
        if any(word in name for word in options.skip) or ("guidance" in name and "flux" in options.model):
            continue
        hows: list[Compile | Capture] = []
        if name == "sequential":
            hows.append(Compile.OFF)
        if not isinstance(strategy, AsyncStages):
            hows.append(compiled_modules)
        # Beneath the engine, several ranks split what one does alone.
        if options.capture != "off" and (name != "sequential" or world == 1):
            hows.append(_capture(options))
        yield from ((name, how) for how in dict.fromkeys(hows))


def _capture(options: argparse.Namespace) -> Capture:
    return Capture(lowering=Lowering(options.capture), cache=options.cache, strict=True)


def _row(name: str, lowering: str, took: list[float], report: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "strategy": name,
        "runBy": lowering,
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
    options: argparse.Namespace, steps: int, world: int, device: torch.device, rows: list[dict[str, Any]]
) -> None:
    base = min(row["seconds"] for row in rows if row["strategy"] == "sequential")
    for row in rows:
        row["timesBestSequential"] = base / row["seconds"]
        print(
            f"{row['strategy']:26} {row['runBy']:18} {row['seconds']:8.4f} s  ± {row['spread']:.4f}  "
            f"{row['timesBestSequential']:5.2f} ×  path {row.get('criticalPath', steps):>5}  "
            f"waiting {row.get('waitingMillisecondsPerEvaluation', 0.0):6.3f} ms",
            flush=True,
        )
    machine = (
        torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    )
    record = {
        "program": "bench/latency.py",
        "model": options.model,
        "steps": steps,
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
    parser.add_argument("model", choices=[*STEPS, *(f"tiny-{name}" for name in STEPS)])
    parser.add_argument("--steps", type=int, help="else as the model's authors call it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=float("inf"))
    parser.add_argument("--compile", default="auto", choices=[str(how) for how in Compile])
    parser.add_argument("--capture", default="inductor", choices=["off", *(str(how) for how in Lowering)])
    parser.add_argument("--skip", nargs="*", default=[], help="leave out strategies whose name holds this")
    parser.add_argument("--cache", type=Path, help="folder of compiled parts, kept for the next run")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
