"""Compiled parts give what their operations give, within rounding, and are compiled once for all processes."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from asyncdiff_runtime.engine import Capture, Exact, Lowering, parallelize, rounding
from asyncdiff_runtime.engine.graph.inductor import Inductor
from support.parts import block, block_values, part_of
from support.toy import curved, toy
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Largest relative distance that another order of additions explains: a few of the format's last bits."""

pytestmark = [
    pytest.mark.skipif(
        shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
        reason="inductor compiles for the CPU with g++ and Python's headers",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _inductor_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Inductor's own folder for this file: what it compiles is not taken from an earlier run, nor left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


def distance(made: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> float:
    return max(map(rounding.distance, made, wanted))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.no_grad()
def test_a_compiled_part_gives_what_its_operations_give(dtype: torch.dtype) -> None:
    given = block_values(dtype)
    call = Inductor()(part_of(block, given), given)
    made = call(*given)

    assert distance(made, block(*given)) <= TOLERANCE[dtype]
    assert all(output.dtype == dtype for output in made)


@torch.no_grad()
def test_what_is_rounded_between_finer_values_is_rounded_when_compiled_too() -> None:
    def rounding_between(x: Tensor) -> tuple[Tensor, ...]:
        return ((x * 1.1).bfloat16().float() * 2,)

    given = (torch.linspace(0.5, 1.5, 64),)
    made = Inductor()(part_of(rounding_between, given), given)(*given)
    assert distance(made, rounding_between(*given)) <= TOLERANCE[torch.float32]


@torch.no_grad()
def test_values_may_lie_otherwise_in_memory_and_come_from_inference_mode() -> None:
    given = block_values()
    call = Inductor()(part_of(block, given), given)
    wanted = block(*given)

    weight, x, text = given
    moved = (weight, x.contiguous(memory_format=torch.channels_last), text.contiguous())
    assert distance(call(*moved), wanted) <= TOLERANCE[torch.float32]
    with torch.inference_mode():
        assert distance(call(*(value.clone() for value in given)), wanted) <= TOLERANCE[torch.float32]


def test_a_pipeline_is_compiled_by_a_word(tmp_path: Path) -> None:
    pipe = toy(curved)
    plain = pipe(steps=4)
    capture = Capture(lowering=Lowering.INDUCTOR, strict=True, cache=tmp_path / "cache")
    with parallelize(pipe, Exact(), capture=capture) as parallel:
        compiled = [pipe(steps=4), pipe(steps=4)]
        assert parallel.report is not None
        assert parallel.report.captures == 0

    assert all(distance((made,), (plain,)) <= TOLERANCE[torch.float32] for made in compiled)
    assert len(list((tmp_path / "cache").iterdir())) == 1


AGAIN = """
import logging, sys, torch
from asyncdiff_runtime.engine.graph.bundle import Store
from asyncdiff_runtime.engine.graph.inductor import Inductor
from support.parts import block, block_values, part_of
from pathlib import Path
logging.basicConfig(level=logging.INFO)
torch.set_num_threads(1)
given = block_values()
with torch.no_grad():
    made = Inductor(store=Store.opened(Path(sys.argv[1])))(part_of(block, given), given)(*given)
torch.save(made, sys.argv[2])
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    compiler, log = tmp_path / "bin" / "g++", tmp_path / "compiled"
    compiler.parent.mkdir()
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *.cpp*) echo once >> {log};; esac\nexec {shutil.which("g++")} "$@"\n'
    )
    compiler.chmod(0o755)

    def run(name: str) -> list[Tensor]:
        variables = {
            "PYTHONPATH": "tests",
            "PATH": f"{compiler.parent}:{os.environ['PATH']}",
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / name),
        }
        subprocess.run(
            [sys.executable, "-c", AGAIN, str(tmp_path / "store"), str(tmp_path / f"{name}.pt")],
            env={**os.environ, **variables},
            check=True,
        )
        made: list[Tensor] = torch.load(tmp_path / f"{name}.pt")
        return made

    first = run("first")
    assert log.exists()
    log.unlink()

    second = run("second")
    assert not log.exists()
    assert all(torch.equal(one, other) for one, other in zip(second, first, strict=True))


@torch.no_grad()
def test_compiling_draws_no_random_numbers() -> None:
    given = block_values()
    before = torch.get_rng_state()
    Inductor()(part_of(block, given), given)
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def test_what_cannot_be_compiled_runs_eagerly_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "standalone_compile", refuse)
    given = block_values()
    part = part_of(block, given)

    with caplog.at_level(logging.WARNING):
        call = Inductor()(part, given)

    assert all(torch.equal(*pair) for pair in zip(call(*given), block(*given), strict=True))
    assert "no C++ compiler" in caplog.text
