"""The rules between fields, as Python checks them; test_admission.py holds the API server to the same words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.describe import Shape, job_shape
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.rule import Rule
from asyncdiff_api.rules import RULES
from asyncdiff_api.validation import load, validate
from hypothesis import given
from support import bad_jobs
from support.bad_jobs import BadJob
from support.jobs import job, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("bad", bad_jobs.ALL, ids=lambda bad: bad.name)
def test_a_broken_rule_names_the_field_what_was_found_and_the_remedy(bad: BadJob) -> None:
    problems = validate(bad.document())
    assert not isinstance(problems, AsyncDiffJob)
    messages = [problem.message for problem in problems if problem.dotted == bad.blames]
    assert len(messages) == 1
    assert all(words in messages[0] for words in bad.says), messages[0]


@pytest.mark.parametrize("bad", bad_jobs.ALL, ids=lambda bad: bad.name)
def test_the_remedy_that_a_message_advises_makes_the_job_valid(bad: BadJob) -> None:
    load(bad.remedied())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.scope.__name__}.{rule.field}")
def test_every_rule_is_broken_by_an_example_and_met_by_the_same_remedied(rule: Rule) -> None:
    breaking = [bad for bad in bad_jobs.ALL if _breaks(bad.document(), rule)]
    assert breaking, "add a job that breaks it to tests/support/bad_jobs.py"
    assert not any(_breaks(bad.remedied(), rule) for bad in breaking)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.scope.__name__}.{rule.field}")
def test_a_rule_reads_and_blames_fields_that_exist(rule: Rule) -> None:
    shape = next(shape for shape in _sections(job_shape()) if shape.model is rule.scope)
    for path in (*rule.holds.reads, tuple(rule.field.split("."))):
        inner = shape
        for name in path:
            assert inner.fields is not None
            inner = inner.fields[name]


@given(jobs())
def test_what_the_api_allows_breaks_no_rule(document: dict[str, Any]) -> None:
    load(document)


def test_one_stage_with_a_stride_needs_one_gpu_alone() -> None:
    spec = load(
        job({"spec.parallelism": {"strategy": "AsyncStages", "asyncStages": {"stages": 1, "stride": 2}}})
    )
    assert spec.spec.parallelism.gpus_per_pod == 1


def _breaks(document: dict[str, Any], rule: Rule) -> bool:
    """Whether some object of the job breaks the rule."""
    with_defaults = AsyncDiffJob.model_validate_json(json.dumps(document)).document()
    objects = (value for value, shape in _objects(with_defaults, job_shape()) if shape.model is rule.scope)
    return any(rule.broken_by(value) is not None for value in objects)


def _objects(value: Any, shape: Shape) -> Iterator[tuple[Any, Shape]]:
    yield value, shape
    if shape.fields is not None:
        for name, inner in value.items():
            yield from _objects(inner, shape.fields[name])
    elif shape.entry is not None and isinstance(value, list):
        for inner in value:
            yield from _objects(inner, shape.entry)


def _sections(shape: Shape) -> Iterator[Shape]:
    yield shape
    for inner in (*(shape.fields or {}).values(), *([shape.entry] if shape.entry else [])):
        yield from _sections(inner)
