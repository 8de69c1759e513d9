"""The tiny pipelines are worth testing with: they run, repeat, and answer to all that they are given."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, wraps
from typing import Any

import pytest
import torch
from support.pipelines import SCHEDULERS, TABLE, TinyPipeline, tiny

# Schedulers of diffusers hand tensors to numpy functions, which numpy 2 takes only with a warning.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

ROWS = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
NOTICEABLE = 0.02
"""Least change of an output, as a share of its spread, that no tolerance of a test would hide."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def built(name: str) -> Any:
    """The pipeline of that row, shared by tests that change nothing in it."""
    return tiny(name).build()


@cache
def usual(name: str) -> torch.Tensor:
    """The output of the row's plainest call."""
    return tiny(name).result(built(name))


def change(row: TinyPipeline, output: torch.Tensor) -> float:
    """How far an output is from the usual one, in spreads of the usual one."""
    return float((output - usual(row.name)).std() / usual(row.name).std())


class Calls:
    """Notes the rows of the batch of every call of the pipeline's denoisers, and counts the scheduler's steps."""

    def __init__(self, pipe: Any, row: TinyPipeline) -> None:
        self.rows: dict[str, list[int]] = {name: [] for name in row.denoisers}
        self.evaluations = 0
        for name in row.denoisers:
            getattr(pipe, name).register_forward_pre_hook(self._noting(name), with_kwargs=True)
        pipe.scheduler.step = self._counting(pipe.scheduler.step)

    def _noting(self, name: str) -> Any:
        def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            latents = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
            assert isinstance(latents, torch.Tensor)
            self.rows[name].append(len(latents))

        return note

    def _counting(self, step: Any) -> Any:
        @wraps(step)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.evaluations += 1
            return step(*args, **kwargs)

        return counted


@ROWS
def test_the_same_seed_gives_the_same_output_from_another_build(row: TinyPipeline) -> None:
    before = torch.random.get_rng_state()
    fresh = row.build()
    assert torch.equal(torch.random.get_rng_state(), before), "building drew from the global generator"
    assert torch.equal(row.result(fresh), usual(row.name))


@ROWS
def test_outputs_are_finite_and_of_moderate_size(row: TinyPipeline) -> None:
    assert usual(row.name).isfinite().all()
    assert 0.01 < usual(row.name).std() < 100


@ROWS
def test_a_batch_has_a_row_for_each_sample(row: TinyPipeline) -> None:
    output = row.result(built(row.name), batch=3, steps=2)
    assert output.shape == (3, *usual(row.name).shape[1:])
    assert not torch.allclose(output[0], output[1])


@ROWS
def test_outputs_follow_the_seed(row: TinyPipeline) -> None:
    assert change(row, row.result(built(row.name), seed=1)) > NOTICEABLE


@pytest.mark.parametrize("row", [row for row in TABLE if "prompt" in row.call()], ids=lambda row: row.name)
def test_outputs_follow_the_prompt(row: TinyPipeline) -> None:
    assert change(row, row.result(built(row.name), prompt=["a blue whale under the ice"])) > NOTICEABLE


@pytest.mark.parametrize("row", [row for row in TABLE if row.guided], ids=lambda row: row.name)
def test_outputs_follow_the_guidance(row: TinyPipeline) -> None:
    assert change(row, row.result(built(row.name), guidance=2.0)) > NOTICEABLE


@ROWS
def test_denoisers_are_called_as_the_row_says(row: TinyPipeline) -> None:
    pipe = row.build()
    calls = Calls(pipe, row)
    row.result(pipe, batch=2)
    made = [rows for name in row.denoisers for rows in calls.rows[name]]
    assert max(made) == 2 * row.rows
    assert all(calls.rows.values()), "a denoiser was never called"
    if row.varying:
        assert calls.evaluations < len(made) < calls.evaluations * row.branches
    else:
        assert len(made) == calls.evaluations * row.branches


@pytest.mark.parametrize(
    ("row", "name"),
    [pytest.param(row, name, id=f"{row.name}-{name}") for row in TABLE for name in row.schedulers],
)
def test_every_scheduler_of_the_row_gives_finite_outputs(row: TinyPipeline, name: str) -> None:
    pipe = row.build()
    pipe.scheduler = SCHEDULERS[name](pipe.scheduler.config)
    output = row.result(pipe, steps=4)
    assert output.isfinite().all()
    assert output.std() < 1000


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux"])
def test_latents_are_decoded_to_pictures(name: str) -> None:
    output = tiny(name).result(built(name), steps=2, output_type="np")
    assert output.shape == (1, 32, 32, 3)
    assert 0 <= output.min() < output.max() <= 1
