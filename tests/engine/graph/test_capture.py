"""A captured denoiser gives what the denoiser gives, bit for bit, in the pipeline's own loop."""

import numpy as np
import pytest
from asyncdiff_runtime.engine import CaptureRefused, Exact, parallelize
from asyncdiff_runtime.engine.graph.capture import capture
from support.pipelines import tiny
from support.requests import Denoiser, request


@pytest.mark.parametrize("name", ["flux-true-cfg", "controlnet"])
def test_a_captured_pipeline_gives_the_plain_pictures(name: str) -> None:
    row = tiny(name)
    pipe = row.build()
    plain = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    with parallelize(pipe, Exact(), capture="eager"):
        captured = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    for ours, theirs in zip(captured, plain, strict=True):
        assert np.array_equal(ours, theirs)


class Cache:
    """Of keys and values, which a denoiser fills as it runs."""


def test_an_object_that_may_hold_tensors_is_no_argument_of_a_graph() -> None:
    capture(request(Denoiser(), mode="plain"))
    with pytest.raises(CaptureRefused, match=r"its argument \['mode'\] is a Cache, which may hold tensors"):
        capture(request(Denoiser(), mode=Cache()))
