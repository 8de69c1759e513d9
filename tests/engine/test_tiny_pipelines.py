"""The tiny pipelines are worth testing with: they run, repeat, and answer to all that they are given."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from support.pipelines import SCHEDULERS, TABLE, TinyPipeline, quiet, tensor, tiny

# Schedulers of diffusers hand tensors to numpy functions, which numpy 2 takes only with a warning.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

ROWS = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
PROMPTED = [row for row in TABLE if {"prompt", "prompt_embeds"} & row.call().keys()]
LATENTS = ("hidden_states", "sample", "x")
TEXT = ("encoder_hidden_states", "cap_feats")
TIMESTEP = ("timestep", "t")
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


def one_of(names: tuple[str, ...], arguments: dict[str, Any]) -> str:
    """The one of several names under which denoisers take the same thing."""
    return next(name for name in names if name in arguments)


class Calls:
    """Notes the arguments of every call of the pipeline's denoisers."""

    def __init__(self, pipe: Any, row: TinyPipeline) -> None:
        self.arguments: dict[str, list[dict[str, Any]]] = {name: [] for name in row.denoisers}
        for name in row.denoisers:
            getattr(pipe, name).register_forward_pre_hook(self._noting(name), with_kwargs=True)

    def _noting(self, name: str) -> Any:
        def note(denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = inspect.signature(denoiser.forward).bind(*args, **kwargs).arguments
            self.arguments[name].append(dict(given))

        return note

    def rows(self) -> list[int]:
        """Rows of the batch at each call."""
        return [len(given[one_of(LATENTS, given)]) for calls in self.arguments.values() for given in calls]

    def first_and_last(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The denoiser's first call and its last of as many rows."""
        first = self.arguments[name][0]
        key = one_of(LATENTS, first)
        return first, [given for given in self.arguments[name] if len(given[key]) == len(first[key])][-1]

    def evaluations(self) -> int:
        """How many timesteps were visited."""
        visited = [given[one_of(TIMESTEP, given)] for calls in self.arguments.values() for given in calls]
        return len({float(timestep.max()) for timestep in visited})


@ROWS
def test_the_same_seed_gives_the_same_output_from_another_build(row: TinyPipeline) -> None:
    before = torch.random.get_rng_state()
    fresh = row.build()
    assert torch.equal(torch.random.get_rng_state(), before), "building drew from the global generator"
    assert torch.equal(row.result(fresh), usual(row.name))


@ROWS
def test_a_copied_pipeline_gives_the_same_output(row: TinyPipeline) -> None:
    assert torch.equal(row.result(copy.deepcopy(built(row.name))), usual(row.name))


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux", "wan", "controlnets", "animatediff"])
def test_a_saved_pipeline_loads_and_gives_the_same_output(name: str, tmp_path: Path) -> None:
    built(name).save_pretrained(tmp_path)
    loaded = quiet(diffusers.DiffusionPipeline.from_pretrained(tmp_path))
    # Mapped weights lie at other addresses, for which the CPU's kernels may round the last bits otherwise.
    torch.testing.assert_close(tiny(name).result(loaded), usual(name), rtol=1e-4, atol=1e-3)


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


@pytest.mark.parametrize("row", PROMPTED, ids=lambda row: row.name)
def test_outputs_follow_the_prompt(row: TinyPipeline) -> None:
    assert change(row, row.result(built(row.name), prompt=["a blue whale under the ice"])) > NOTICEABLE


@pytest.mark.parametrize("row", [row for row in TABLE if row.guided], ids=lambda row: row.name)
def test_outputs_follow_the_guidance(row: TinyPipeline) -> None:
    assert change(row, row.result(built(row.name), guidance=2.0)) > NOTICEABLE


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(row, name, id=f"{row.name}-{name}")
        for row in TABLE
        for name in ("image", "mask_image", "control_image")
        if name in row.call()
    ],
)
def test_outputs_follow_every_image(row: TinyPipeline, name: str) -> None:
    given = row.call()[name]
    negative = [1 - each for each in given] if isinstance(given, list) else 1 - given
    assert change(row, row.result(built(row.name), **{name: negative})) > NOTICEABLE


@ROWS
def test_predictions_follow_latents_timestep_and_text(row: TinyPipeline) -> None:
    pipe = row.build()
    calls = Calls(pipe, row)
    row.result(pipe)
    for name in row.denoisers:
        first, last = calls.first_and_last(name)
        latents, timestep, text = (one_of(names, first) for names in (LATENTS, TIMESTEP, TEXT))
        before = predicted(pipe, name, first)
        for changed in (
            {latents: last[latents]},
            {timestep: last[timestep]},
            {text: turned(first[text])},
        ):
            after = predicted(pipe, name, first | changed)
            assert (after - before).std() / before.std() > NOTICEABLE, changed.keys()


def turned(embeddings: Any) -> Any:
    """The embeddings with their channels in reverse."""
    return [each.flip(-1) for each in embeddings] if isinstance(embeddings, list) else embeddings.flip(-1)


@torch.no_grad()
def predicted(pipe: Any, denoiser: str, arguments: dict[str, Any]) -> torch.Tensor:
    """What the denoiser predicts when called so."""
    return tensor(getattr(pipe, denoiser)(**arguments)[0])


@ROWS
def test_denoisers_are_called_as_the_row_says(row: TinyPipeline) -> None:
    pipe = row.build()
    calls = Calls(pipe, row)
    row.result(pipe, batch=2)
    assert all(calls.arguments.values()), "a denoiser was never called"
    made = calls.rows()
    assert max(made) == 2 * row.rows
    if row.varying:
        assert calls.evaluations() < len(made) < calls.evaluations() * row.branches
    else:
        assert len(made) == calls.evaluations() * row.branches


@pytest.mark.parametrize(
    ("row", "name"),
    [pytest.param(row, name, id=f"{row.name}-{name}") for row in TABLE for name in row.schedulers],
)
def test_every_scheduler_of_the_row_gives_finite_outputs(
    row: TinyPipeline, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = built(row.name)
    monkeypatch.setattr(pipe, "scheduler", SCHEDULERS[name](pipe.scheduler.config))
    output = row.result(pipe, steps=3)
    assert output.isfinite().all()
    assert output.std() < 1000


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux"])
def test_latents_are_decoded_to_pictures(name: str) -> None:
    output = tiny(name).result(built(name), steps=2, output_type="np")
    assert output.shape == (1, 32, 32, 3)
    assert 0 <= output.min() < output.max() <= 1
