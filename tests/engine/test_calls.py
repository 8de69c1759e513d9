"""What a denoiser's call must have, under which names, and how rows are taken of it."""

from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine import PipelineRefused
from asyncdiff_runtime.engine.call import Call, Parameters
from asyncdiff_runtime.engine.listed import listed
from support.requests import tensor
from torch import Tensor, nn

ROWS = 3


class Rowwise(nn.Module):
    """Takes and gives rows as lists, as Z-Image's transformer does."""

    def forward(self, x: list[Tensor], t: Tensor, cap_feats: list[Tensor]) -> Any:
        assert isinstance(x, list)
        return ([row * at + text.sum() for row, at, text in zip(x, t, cap_feats, strict=True)],)


def call(**arguments: Any) -> Call:
    module = Rowwise()
    return Call.of(module, module.forward, Parameters.of(module.forward).named((), arguments))


def rows() -> dict[str, Any]:
    """Arguments whose prompts differ in length."""
    return {
        "x": [tensor(row, 4, 8) for row in range(ROWS)],
        "t": tensor(9, ROWS),
        "cap_feats": [tensor(20 + row, row + 1, 2) for row in range(ROWS)],
    }


@pytest.mark.parametrize(
    ("latent", "timestep"),
    [("sample", "timestep"), ("hidden_states", "timesteps"), ("sample", "timestep_ratio"), ("x", "t")],
)
def test_latent_and_timestep_are_known_by_the_names_that_denoisers_give_them(
    latent: str, timestep: str
) -> None:
    asked = call(**{latent: tensor(0, 2, 4), timestep: 7.0, "text": tensor(1, 2, 4)})
    assert (asked.latent, asked.time, asked.timestep, asked.rows) == (latent, timestep, 7.0, 2)
    later = asked.at(tensor(2, 2, 4), 6.0)
    assert later.timestep == 6.0
    assert later.same_condition(asked)
    assert later.signature() == asked.signature()


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": [tensor(0, 4), tensor(1, 5)], "t": 7.0},
        {"x": [[tensor(0, 4)], [tensor(1, 4)]], "t": 7.0},
        {"hidden_states": [tensor(0, 4), tensor(1, 4)], "timestep": 7.0},
        {"input_ids": tensor(0, 2, 4)},
        {"sample": tensor(0, 2, 4), "timestep": None},
    ],
    ids=["sizes differ", "lists of lists", "lists elsewhere", "no names", "no timestep"],
)
def test_what_has_no_latent_or_timestep_is_refused_with_the_names(arguments: dict[str, Any]) -> None:
    with pytest.raises(
        PipelineRefused, match=f"called with {', '.join(arguments)}; expected a latent named sample"
    ):
        call(**arguments)


def test_rows_in_lists_are_answered_as_the_module_answers_them() -> None:
    (expected,) = Rowwise()(**rows())
    asked = call(**rows())
    assert asked.x.shape == (ROWS, 4, 8)
    (answer,) = listed(asked.run())
    assert isinstance(answer, list)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(answer, expected, strict=True))


def test_lists_of_rows_are_cut_as_the_latent_is() -> None:
    asked = call(**rows())
    whole = asked.run()[0]
    parts = [asked.take(0, 1).run()[0], asked.take(1, ROWS).run()[0]]
    assert torch.equal(torch.cat(parts), whole)
