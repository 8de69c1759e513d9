"""A generation of a job is read once, and the next one anew."""

from __future__ import annotations

from typing import Any

from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_operator.specs import Specs
from support.jobs import job


def stored(uid: str, generation: int, **changes: Any) -> dict[str, Any]:
    document = job({f"spec.{path.replace('_', '.')}": value for path, value in changes.items()})
    return {**document, "metadata": {"name": "posters", "uid": uid, "generation": generation}}


def test_a_generation_is_read_once_whatever_its_status_says_meanwhile() -> None:
    specs = Specs()
    first = specs.read(stored("a", 1))

    assert isinstance(first, AsyncDiffJob)
    assert specs.read({**stored("a", 1), "status": {"phase": "Running"}}) is first


def test_another_generation_and_another_job_of_the_name_are_read_for_themselves() -> None:
    specs = Specs()
    steps = [
        read.spec.generate.steps
        for read in (
            specs.read(stored("a", 1, generate_steps=10)),
            specs.read(stored("a", 2, generate_steps=20)),
            specs.read(stored("b", 1, generate_steps=30)),
        )
        if isinstance(read, AsyncDiffJob)
    ]

    assert steps == [10, 20, 30]


def test_what_is_wrong_is_remembered_as_what_is_right() -> None:
    specs = Specs()
    problems = specs.read(stored("a", 1, generate_steps=-1))

    assert not isinstance(problems, AsyncDiffJob)
    assert specs.read(stored("a", 1, generate_steps=-1)) is problems


def test_of_too_many_those_that_were_looked_at_last_are_kept() -> None:
    specs = Specs(most=2)
    first, second = specs.read(stored("a", 1)), specs.read(stored("b", 1))
    assert specs.read(stored("a", 1)) is first
    specs.read(stored("c", 1))

    assert specs.read(stored("a", 1)) is first
    assert specs.read(stored("b", 1)) is not second
