"""Compiled parts give what their operations give, within rounding, and are compiled once for all processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from asyncdiff_runtime.engine.graph.inductor import Inductor
from support.parts import block, block_values, part_of
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Largest relative distance that another order of additions explains: a few of the format's last bits."""

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles for the CPU with g++"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _inductor_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Inductor's own folder for this file: what it compiles is not taken from an earlier run, nor left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


def distance(made: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> float:
    return max(
        float((one.double() - other.double()).norm() / other.double().norm())
        for one, other in zip(made, wanted, strict=True)
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.no_grad()
def test_a_compiled_part_gives_what_its_operations_give(dtype: torch.dtype) -> None:
    given = block_values(dtype)
    call = Inductor()(part_of(block, given), given)
    made = call(*given)

    assert distance(made, block(*given)) <= TOLERANCE[dtype]
    assert all(output.dtype == dtype for output in made)


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
