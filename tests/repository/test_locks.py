"""The locks agree with pyproject.toml and with each other, and name no address."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.repository import ROOT, lower_bound, pins, requirements

EXTRAS_OF = {
    "operator": ["operator"],
    "runtime": ["runtime"],
    "dev": ["operator", "dev"],
    "full": ["operator", "runtime", "dev"],
}
LOCKS = sorted((ROOT / "locks").glob("*.txt"))


def lock(name: str) -> Path:
    return ROOT / "locks" / f"{name}.txt"


def claims() -> list[tuple[str, Requirement]]:
    return [
        (name, requirement) for name, extras in EXTRAS_OF.items() for requirement in requirements(*extras)
    ]


@pytest.mark.parametrize(("name", "requirement"), claims(), ids=str)
def test_a_lock_pins_each_requirement_within_its_bounds(name: str, requirement: Requirement) -> None:
    found = pins(lock(name)).get(canonicalize_name(requirement.name), [])
    assert found, f"locks/{name}.txt lacks {requirement.name}: run `make lock`"
    for pin in found:
        assert pin.version in requirement.specifier, f"locks/{name}.txt has {pin.version}: run `make lock`"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", " @ "):
        assert word not in text


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_pin_carries_hashes(path: Path) -> None:
    assert [pin.name for found in pins(path).values() for pin in found if pin.hashes == 0] == []


@pytest.mark.parametrize("part", ["operator", "runtime", "dev"])
def test_all_locks_choose_the_same_versions(part: str) -> None:
    everything = pins(lock("full"))
    assert {name: found for name, found in pins(lock(part)).items() if everything.get(name) != found} == {}


def test_operator_and_dev_wait_for_no_torch() -> None:
    for name in ("operator", "dev"):
        assert not {"torch", "diffusers", "transformers"} & pins(lock(name)).keys()


@pytest.mark.parametrize("requirement", requirements("operator", "runtime", "dev"), ids=str)
def test_the_lowest_lock_holds_the_lower_bounds(requirement: Requirement) -> None:
    found = pins(lock("lowest"))[canonicalize_name(requirement.name)]
    assert [pin.version for pin in found] == [lower_bound(requirement)]
