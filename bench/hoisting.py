"""What hoisting takes out of the denoising loop, at real size, and what it brings on one CPU thread.

    .venv/bin/python bench/hoisting.py --json bench/results/hoisting.json

The first table needs neither weights nor a GPU: each denoiser is made and captured on fake tensors. The second
evaluates the models that the runtime carries, by their modules, by their graphs, and by their hoisted graphs, turn by
turn in one process and on one thread, whose own time is counted; ratios are medians over turns.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncdiff_runtime
import diffusers
import torch
from asyncdiff_runtime.engine.call import Call, Parameters
from asyncdiff_runtime.engine.graph.capture import capture
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.hoisting_report import HoistingReport
from asyncdiff_runtime.engine.graph.joint import tensors_of
from asyncdiff_runtime.engine.graph.lowering import eager
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.request import Request
from rich.console import Console
from rich.table import Table
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

BUDGET_BYTES = 1 << 30
BUNDLED = Path(asyncdiff_runtime.__file__).parent / "bundled"


@dataclass(frozen=True)
class Subject:
    """A denoiser of real size, and the arguments of one of its calls."""

    make: Callable[[], nn.Module]
    arguments: Callable[[], dict[str, Any]]
    dtype: torch.dtype


def sdxl() -> nn.Module:
    unet: nn.Module = diffusers.UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )
    return unet


def sd3() -> nn.Module:
    transformer: nn.Module = diffusers.SD3Transformer2DModel(
        sample_size=128,
        num_layers=24,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        out_channels=16,
        pos_embed_max_size=192,
    )
    return transformer


def flux() -> nn.Module:
    transformer: nn.Module = diffusers.FluxTransformer2DModel(guidance_embeds=True)
    return transformer


SUBJECTS = {
    "SDXL 1024², guidance": Subject(
        sdxl,
        lambda: {
            "sample": torch.empty(2, 4, 128, 128),
            "timestep": torch.tensor(999.0),
            "encoder_hidden_states": torch.empty(2, 77, 2048),
            "added_cond_kwargs": {"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)},
            "return_dict": False,
        },
        torch.float16,
    ),
    "SD3 medium 1024², guidance": Subject(
        sd3,
        lambda: {
            "hidden_states": torch.empty(2, 16, 128, 128),
            "timestep": torch.empty(2),
            "encoder_hidden_states": torch.empty(2, 333, 4096),
            "pooled_projections": torch.empty(2, 2048),
            "return_dict": False,
        },
        torch.float16,
    ),
    "FLUX 12B 1024²": Subject(
        flux,
        lambda: {
            "hidden_states": torch.empty(1, 4096, 64),
            "timestep": torch.empty(1),
            "guidance": torch.empty(1),
            "pooled_projections": torch.empty(1, 768),
            "encoder_hidden_states": torch.empty(1, 512, 4096),
            "txt_ids": torch.empty(512, 3),
            "img_ids": torch.empty(4096, 3),
            "return_dict": False,
        },
        torch.bfloat16,
    ),
}


def request(module: nn.Module, arguments: dict[str, Any]) -> Request:
    """What a pipeline would ask."""
    return Request(Call.of(module, module.forward, Parameters.of(module.forward).named((), arguments)))


def of_real_size(subject: Subject) -> HoistingReport:
    """The figures of a denoiser that is never made."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(subject.dtype)
    try:
        with FakeTensorMode(), torch.no_grad():
            module = subject.make().eval().requires_grad_(False)
            graph = capture(request(module, subject.arguments()))
    finally:
        torch.set_default_dtype(default)
    return hoist(graph, BUDGET_BYTES).report


@dataclass(frozen=True)
class Speed:
    """Evaluations one after the other, in the thread's own seconds; as fast as the modules where a ratio is 1."""

    model: str
    modules_seconds: float
    graph_ratio: float
    hoisted_ratio: float


class First(Exception):
    """Carries the first request out of a pipeline."""

    def __init__(self, asked: Request) -> None:
        self.request = asked


def first_request(folder: Path) -> Request:
    """What a carried model's pipeline asks of its denoiser first."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    forward = denoiser.forward
    parameters = Parameters.of(forward)

    def asked(*args: Any, **kwargs: Any) -> Any:
        raise First(Request(Call.of(denoiser, forward, parameters.named(args, kwargs))))

    denoiser.forward = asked
    try:
        pipe("a red circle above a blue square", num_inference_steps=4, guidance_scale=5.0)
    except First as first:
        return first.request
    finally:
        del denoiser.forward
    raise AssertionError(f"{folder.name} was not asked")


def on_one_thread(folder: Path, turns: int) -> Speed:
    """Seconds of an evaluation in three ways, turn by turn, each at another timestep than before."""
    torch.set_num_threads(1)
    with torch.no_grad():
        asked = first_request(folder)
        graph = capture(asked)
        program = Program(graph, hoist(graph, BUDGET_BYTES), eager)
        whole = Program(graph, hoist(graph, 0), eager)
        ways: tuple[Callable[[Request], Any], ...] = (
            Request.run,
            lambda r: whole(tensors_of(r)),
            lambda r: program(tensors_of(r)),
        )
        seconds: list[list[float]] = [[] for _ in ways]
        for turn in range(turns + 2):
            later = asked.at([asked.call.x], [asked.call.timestep - 3 * turn])
            for place in range(len(ways)):
                at = (turn + place) % len(ways)
                begin = time.thread_time()
                ways[at](later)
                seconds[at].append(time.thread_time() - begin)
    modules, graphs, hoisted = (found[2:] for found in seconds)
    return Speed(
        model=folder.name,
        modules_seconds=statistics.median(modules),
        graph_ratio=_ratio(modules, graphs),
        hoisted_ratio=_ratio(modules, hoisted),
    )


def _ratio(modules: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(modules, others, strict=True))


def _table(speeds: Sequence[Speed]) -> Table:
    table = Table("model", title="evaluations on one CPU thread", title_justify="left")
    for column in ("modules, s", "graph, as fast", "hoisted, as fast"):
        table.add_column(column, justify="right")
    for speed in speeds:
        table.add_row(
            speed.model,
            f"{speed.modules_seconds:.4f}",
            f"{speed.graph_ratio:.3f} ×",
            f"{speed.hoisted_ratio:.3f} ×",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--turns", type=int, default=30, help="evaluations in each way (default: %(default)s)"
    )
    options = parser.parse_args()
    console = Console()
    reports = {}
    for name, subject in SUBJECTS.items():
        reports[name] = of_real_size(subject)
        console.print(name, reports[name], sep="\n")
    speeds = [on_one_thread(BUNDLED / name, options.turns) for name in ("shapes-unet", "shapes-sd3")]
    console.print(_table(speeds))
    if options.json:
        figures = {
            "program": "bench/hoisting.py",
            "budget_bytes": BUDGET_BYTES,
            "hoisting": {name: report.as_json() for name, report in reports.items()},
            "one_thread": {"turns": options.turns, "speeds": [vars(speed) for speed in speeds]},
            "machine": platform.machine(),
            "versions": {name: version(name) for name in ("torch", "diffusers")},
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
