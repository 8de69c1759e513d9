"""A captured denoiser gives what the denoiser gives, bit for bit, in the pipeline's own loop."""

import numpy as np
import pytest
from asyncdiff_runtime.engine import Exact, parallelize
from support.pipelines import tiny


@pytest.mark.parametrize("name", ["flux-true-cfg", "controlnet"])
def test_a_captured_pipeline_gives_the_plain_pictures(name: str) -> None:
    row = tiny(name)
    pipe = row.build()
    plain = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    with parallelize(pipe, Exact(), capture="eager"):
        captured = [row.result(pipe, seed=0), row.result(pipe, seed=1, batch=2)]

    for ours, theirs in zip(captured, plain, strict=True):
        assert np.array_equal(ours, theirs)
