"""The documents that other tests draw reach every field and keep every rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncdiff_api.describe import Shape, child, job_shape, leaves
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import validate
from support.admission import sample
from support.jobs import job, jobs
from support.spoil import spoiled_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_drawn_jobs_set_every_field_of_the_spec() -> None:
    """Rare fields, optional ones inside optional ones, may take several thousand draws."""
    missing = {leaf.dotted for leaf in leaves("spec")}
    for start in range(1, 16):
        drawn = sample(jobs(), 2000, start)
        missing -= {
            path for document in drawn for path in _paths(document["spec"], child(job_shape(), "spec"))
        }
        if not missing:
            break
    assert missing == set()


def test_spoiled_jobs_are_bad_more_often_than_not() -> None:
    verdicts = [
        isinstance(validate(document), AsyncDiffJob) for document in sample(spoiled_jobs(), 300, start=1)
    ]
    assert verdicts.count(False) > verdicts.count(True) > 0


def test_the_plainest_job_is_valid_without_any_of_its_values_being_shared() -> None:
    assert isinstance(validate(job()), AsyncDiffJob)
    job()["spec"]["generate"]["prompts"].append("another")
    assert job()["spec"]["generate"]["prompts"] == ["a fox in the snow"]


def _paths(value: Any, shape: Shape) -> Iterator[str]:
    """Paths of the leaves that a document sets."""
    if shape.is_leaf:
        yield shape.dotted
    elif shape.fields is not None:
        for name, inner in value.items():
            yield from _paths(inner, shape.fields[name])
    elif shape.entry is not None:
        for inner in value:
            yield from _paths(inner, shape.entry)
