"""The reference's table of denoisers says what is so, and misses no class that diffusers has."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from support.denoisers import OTHERS, TABLE, exported
from support.denoisers.examination import capturing, unread

RESULTS: Final = Path(__file__).parents[3] / "docs" / "reference" / "denoisers.json"
SAMPLED: Final = (
    "AuraFlowTransformer2DModel",
    "CogView4Transformer2DModel",
    "DiTTransformer2DModel",
    "HiDreamImageTransformer2DModel",
    "Lumina2Transformer2DModel",
    "SkyReelsV2Transformer3DModel",
    "StableAudioDiTModel",
    "StableCascadeUNet",
    "UNet2DModel",
    "ZImageTransformer2DModel",
)
"""Of different families; the whole table takes minutes."""
AGAIN: Final = "run scripts/denoisers.py"


@pytest.fixture(scope="module")
def written() -> Mapping[str, Any]:
    """What the reference has, if it was made with the versions that are here."""
    results: Mapping[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    here = {name: version(name).split("+")[0] for name in ("diffusers", "torch")}
    there = {name: results["versions"][name] for name in here}
    if here != there:
        pytest.skip(f"the table was made with {there}, and here are {here}")
    return results["classes"]  # type: ignore[no-any-return]  # -- JSON


def test_every_class_that_diffusers_exports_is_in_the_table(written: Mapping[str, Any]) -> None:
    assert written.keys() == exported().keys(), AGAIN
    assert {name: written[name].get("other") for name in OTHERS} == OTHERS, AGAIN


def test_every_class_has_a_row_or_a_reason() -> None:
    assert TABLE.keys().isdisjoint(OTHERS)
    assert exported().keys() >= TABLE.keys() | OTHERS.keys()


@pytest.mark.parametrize("name", SAMPLED)
def test_what_the_table_says_of_a_class_is_so(name: str, written: Mapping[str, Any]) -> None:
    found, said = capturing(TABLE[name]), written[name]
    assert (found.captured, found.equal, found.reason) == (said["captured"], said["equal"], said["reason"]), (
        AGAIN
    )


def test_examples_depend_on_everything_that_they_are_given() -> None:
    example = TABLE["StableAudioDiTModel"].example()
    assert unread(example) == ()
    example.module.load_state_dict(
        {name: torch.zeros_like(value) for name, value in example.module.state_dict().items()}
    )
    assert set(unread(example)) >= {"hidden_states", "timestep", "encoder_hidden_states"}
