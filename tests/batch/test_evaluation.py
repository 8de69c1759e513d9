"""How ranks evaluate the denoiser follows from the job alone, and changes no picture beyond rounding."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import yaml
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.generate import Generate
from asyncdiff_api.parallelism import Compile, Device, Parallelism
from asyncdiff_runtime.batch.evaluation import (
    AUTOTUNED,
    BY_MODULES,
    CAPTURED,
    COMPILED,
    Evaluation,
    Filled,
    by_itself,
    compiled_folder,
    evaluation_of,
)
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.pipeline import PipelineGenerator
from asyncdiff_runtime.engine.graph.options import Lowering
from asyncdiff_runtime.engine.hook import attached
from asyncdiff_runtime.storage import FolderStorage
from diffusers import EulerDiscreteScheduler
from support.command import run
from support.jobs import job as document
from support.pipelines import tiny
from support.pipelines.row import quiet
from support.pipelines.stable_diffusion import parts
from support.prefixes import assert_exactly_once
from support.toy import ToyDenoiser, ToyPipeline, curved, toy
from torch import Tensor

GRAPH = Evaluation(capture=Lowering.EAGER)
"""What needs no compiler and gives the very bits of the modules."""


def item(seed: int, **fields: object) -> WorkItem:
    line = WorklistLine.model_validate({"prompt": "a fox", **fields})
    return WorkItem(f"{seed}", Position(0, seed), line, seed, {})


@pytest.mark.parametrize(
    ("asked", "device", "together", "alone"),
    [
        (Compile.AUTO, Device.CUDA, COMPILED, BY_MODULES),
        (Compile.NEVER, Device.CUDA, BY_MODULES, BY_MODULES),
        (Compile.MAX_AUTOTUNE, Device.CUDA, AUTOTUNED, BY_MODULES),
        (Compile.CAPTURED, Device.CUDA, CAPTURED, CAPTURED),
        (Compile.AUTO, Device.CPU, BY_MODULES, BY_MODULES),
        (Compile.MAX_AUTOTUNE, Device.CPU, BY_MODULES, BY_MODULES),
        (Compile.CAPTURED, Device.CPU, CAPTURED, CAPTURED),
    ],
)
def test_a_word_of_the_job_decides(
    asked: Compile, device: Device, together: Evaluation, alone: Evaluation
) -> None:
    parallelism = Parallelism(compile=asked, device=device)
    assert evaluation_of(parallelism, together=True) == together
    assert evaluation_of(parallelism, together=False) == alone


def test_compiled_parts_lie_beside_the_models_of_the_cache_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/asyncdiff")
    assert compiled_folder() == Path("/var/cache/asyncdiff/asyncdiff/compiled")
    assert CAPTURED.arguments(compiled_folder())["capture"].cache == compiled_folder()
    assert CAPTURED.compiles
    assert not GRAPH.compiles


class Counting:
    """Makes as many pictures as it is asked for, up to what fits, and notes the sizes."""

    def __init__(self, room: int = 8) -> None:
        self.sizes: list[int] = []
        self.room = room

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        self.sizes.append(len(items))
        if len(items) > self.room:
            raise MemoryError
        return [Made(np.full((1, 1, 3), item.seed), 1.0) for item in items]


def test_a_last_batch_is_filled_up_to_a_size_that_was_made_before() -> None:
    counting = Counting()
    filled = Filled(counting)
    for batch in ([1, 2, 3, 4], [5], [6, 7, 8]):
        made = filled.generate([item(seed) for seed in batch])
        assert [one.pixels.max() for one in made if isinstance(one, Made)] == batch
        assert sum(one.seconds for one in made if isinstance(one, Made)) == pytest.approx(4.0)
    filled.generate([item(9, width=128)])
    assert counting.sizes == [4, 4, 4, 1]


def test_a_size_that_does_not_fit_is_not_filled_up_to() -> None:
    counting = Counting()
    filled = Filled(counting)
    filled.generate([item(seed) for seed in range(4)])
    counting.room = 3
    with pytest.raises(MemoryError):
        filled.generate([item(4), item(5)])
    filled.generate([item(4), item(5)])
    assert counting.sizes == [4, 4, 2]


def test_ranks_that_work_alone_make_the_same_pictures_by_the_graph() -> None:
    row = tiny("sd15")
    pipe, generate = row.build(), Generate(prompts=("a fox",), height=32, width=32, steps=3)
    items = [item(1), item(2)]
    plain = PipelineGenerator(pipe, generate).generate(items)

    captured = by_itself(PipelineGenerator(pipe, generate), pipe, GRAPH)
    assert attached(pipe.unet)
    for _ in range(2):
        made = captured.generate(items)
        for one, other in zip(made, plain, strict=True):
            assert isinstance(one, Made)
            assert isinstance(other, Made)
            assert np.array_equal(one.pixels, other.pixels)


class ToyGenerator:
    """Makes latents with a toy pipeline."""

    def __init__(self, pipe: ToyPipeline) -> None:
        self.pipe = pipe

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        latents = self.pipe(steps=3, seed=items[0].seed, batch=len(items))
        return [Made(latent.numpy(), 1.0) for latent in latents]


class Unnamed(ToyDenoiser):
    """A denoiser that calls its latent and its timestep as no other does."""

    def forward(self, picture: Tensor, moment: Tensor, condition: Tensor, **_: Any) -> Any:  # type: ignore[override]  # -- as it should not be
        return super().forward(picture, moment, condition)


def test_what_the_engine_refuses_is_made_by_its_modules(caplog: pytest.LogCaptureFixture) -> None:
    pipe = ToyPipeline(Unnamed(curved), EulerDiscreteScheduler())
    (plain,) = ToyGenerator(pipe).generate([item(1)])
    (made,) = by_itself(ToyGenerator(pipe), pipe, GRAPH).generate([item(1)])

    assert isinstance(plain, Made)
    assert isinstance(made, Made)
    assert np.array_equal(made.pixels, plain.pixels)
    assert not attached(pipe.unet)
    assert "as if spec.parallelism.compile were Never" in caplog.text


@pytest.mark.skipif(
    shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="inductor compiles for the CPU with g++ and Python's headers",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_later_rank_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    (plain,) = ToyGenerator(toy(curved)).generate([item(1)])
    assert isinstance(plain, Made)

    for _ in range(2):
        pipe = toy(curved)
        (made,) = by_itself(ToyGenerator(pipe), pipe, CAPTURED).generate([item(1)])
        assert isinstance(made, Made)
        assert np.allclose(made.pixels, plain.pixels, atol=1e-5)
        assert len(list(compiled_folder().iterdir())) == 1
        assert "cannot be compiled" not in caplog.text
        monkeypatch.delattr(torch._inductor, "standalone_compile", raising=False)


def test_a_job_that_asks_for_its_graph_runs_without_a_compiler_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_block: dict[str, Any] = {
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",),
        "mid_block_type": None,
    }
    pipe = quiet(diffusers.StableDiffusionPipeline(**parts(seed=10, **one_block)))
    pipe.save_pretrained(tmp_path / "models" / "small")
    for name, value in (("CXX", "/no/compiler"), ("OMP_NUM_THREADS", "1"), ("HF_HUB_OFFLINE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes = {
        "spec.model": {"volume": {"claimName": "models", "path": "small"}, "dtype": "float32"},
        "spec.parallelism": {"device": "CPU", "gpusPerPod": 1, "compile": "Captured"},
        "spec.generate": {"prompts": ["a fox", "a boat"], "height": 64, "width": 64, "steps": 2},
        "spec.output": {"volume": {"claimName": "renders"}},
    }
    job, output = tmp_path / "job.yaml", tmp_path / "output"
    job.write_text(yaml.safe_dump(document(changes)))

    done = run("run", str(job), "--volume", f"models={tmp_path / 'models'}", "--output", str(output))

    assert done.exit_code == 0, done.stderr
    assert_exactly_once(FolderStorage(output), blocks=2, items=2)
    assert compiled_folder().is_dir()
