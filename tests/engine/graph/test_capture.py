"""A captured denoiser gives what the denoiser gives, bit for bit, in the pipeline's own loop."""

from typing import Any

import numpy as np
import pytest
import torch
from asyncdiff_runtime.engine import CaptureRefused, Exact, parallelize
from asyncdiff_runtime.engine.graph.capture import capture
from asyncdiff_runtime.engine.graph.dependence import Dependence
from asyncdiff_runtime.engine.graph.joint import tensors_of
from support.pipelines import tiny
from support.requests import Denoiser, request
from torch import Tensor, nn


@pytest.mark.parametrize("name", ["flux-true-cfg", "controlnet"])
def test_a_captured_pipeline_gives_the_plain_pictures(name: str) -> None:
    row = tiny(name)
    pipe = row.build()
    plain = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    with parallelize(pipe, Exact(), capture="eager"):
        captured = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    for ours, theirs in zip(captured, plain, strict=True):
        assert np.array_equal(ours, theirs)


class Mixing(nn.Module):
    """Tells its arguments apart."""

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, sigma: Tensor, scale: Tensor) -> Any:
        return (sample * text + 2 * timestep + 3 * sigma + 5 * scale,)


def test_a_tensor_that_is_passed_twice_is_two_inputs() -> None:
    time, one = torch.tensor(900.0), torch.ones(4)
    graph = capture(request(Mixing(), timestep=time, sigma=time, text=one, scale=one))
    kinds = {given.name: given.dependence for given in graph.inputs.values()}
    assert kinds["sigma"] == kinds["timestep"] == Dependence.EVALUATION
    assert kinds["scale"] == kinds["text"] == Dependence.GENERATION

    other = request(Mixing(), sigma=torch.tensor(3.0), text=torch.zeros(4), scale=one)
    assert torch.equal(graph.run(tensors_of(other))[0], other.run()[0])


class Cache:
    """Of keys and values, which a denoiser fills as it runs."""


def test_an_object_that_may_hold_tensors_is_no_argument_of_a_graph() -> None:
    capture(request(Denoiser(), mode="plain"))
    with pytest.raises(CaptureRefused, match=r"its argument \['mode'\] is a Cache, which may hold tensors"):
        capture(request(Denoiser(), mode=Cache()))
