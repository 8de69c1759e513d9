"""What is wrong with a document, in words for the person who wrote it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import InvalidJobError, Problem, load, validate
from hypothesis import given
from support.jobs import job, jobs
from support.spoil import spoiled_jobs


def only_problem(document: object) -> Problem:
    problems = validate(document)
    assert not isinstance(problems, AsyncDiffJob), "the document is valid"
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.generate.steps", "4", 'an integer from 1 to 1000; found the text "4"; write 4 without quotes'),
        ("spec.generate.steps", 0, "an integer from 1 to 1000; found the number 0"),
        ("spec.generate.steps", 4.5, "found the number 4.5"),
        ("spec.generate.steps", True, "found true"),
        ("spec.generate.guidanceScale", 100.5, "a number from 0 to 100; found the number 100.5"),
        ("spec.generate.prompts", "a fox", 'begins with "- "'),
        ("spec.generate.prompts", [], "a list of 1 to 256 entries; found a list of 0 entries"),
        ("spec.generate.prompts", ["a"] * 257, "found a list of 257 entries"),
        ("spec.generate.negativePrompt", "a" * 1025, "at most 1024 characters; found 1025 characters"),
        ("spec.generate.options", [1], "a mapping of at most 64 keys; found a list of 1 entry"),
        ("spec.generate.seeds", 7, "a mapping with fields such as start, count; found the number 7"),
        ("spec.parallelism.batchSize", "Many", 'an integer from 1 to 1024, or Auto; found the text "Many"'),
        ("spec.parallelism.compile", False, "put text in quotes"),
        ("spec.parallelism.compile", None, None),
        ("spec.output.gallery", "true", 'true or false; found the text "true"; write true without quotes'),
        ("spec.output.s3.bucket", "Renders", "the name of a bucket: 3 to 63 lower-case letters"),
        ("spec.model.revision", 462165984030, 'put it in quotes: "462165984030"'),
        ("spec.pod.labels", {"team": 7}, 'put it in quotes: "7"'),
        ("metadata.name", "Posters", "up to 45 lower-case letters, digits and '-'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_was_found(
    path: str, value: Any, message: str | None
) -> None:
    document = job({path: value})
    if message is None:
        load(document)
        return
    problem = only_problem(document)
    assert problem.dotted.removesuffix(".team") == path
    assert message in problem.message


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("spec.generate.step", "steps"),
        ("spec.generate.guidance_scale", "guidanceScale"),
        ("spec.generate.negative-prompt", "negativePrompt"),
        ("spec.generate.HEIGHT", "height"),
        ("spec.steps", "spec.generate.steps"),
        ("spec.gpus_per_pod", "spec.parallelism.gpusPerPod"),
        ("spec.generate.suspend", "spec.run.suspend"),
        ("spec.xyzzy", None),
        ("metadata.lables", "labels"),
        ("specs", "spec"),
    ],
)
def test_an_unknown_field_is_told_with_the_one_that_was_meant(path: str, suggestion: str | None) -> None:
    problem = only_problem(job({path: "x"}))
    assert problem.dotted == path
    assert "no such field" in problem.message
    assert problem.suggestion == suggestion


@pytest.mark.parametrize(
    ("path", "value", "suggestion"),
    [
        ("spec.output.format", "png", "PNG"),
        ("spec.output.format", "JPG", "JPEG"),
        ("spec.parallelism.strategy", "async_stages", "AsyncStages"),
        ("spec.model.dtype", "fp32", None),
        ("kind", "AsyncDiff", "AsyncDiffJob"),
        ("apiVersion", "asyncdiff.dev/v1", "asyncdiff.dev/v1alpha1"),
    ],
)
def test_an_unknown_choice_is_told_with_the_one_that_was_meant(
    path: str, value: str, suggestion: str | None
) -> None:
    problem = only_problem(job({path: value}))
    assert problem.dotted == path
    assert problem.suggestion == suggestion


@pytest.mark.parametrize("path", ["spec", "spec.model", "spec.output.s3.bucket", "kind", "apiVersion"])
def test_a_missing_field_is_told_with_what_it_is_for(path: str) -> None:
    problem = only_problem(job({path: None}))
    assert problem.dotted == path
    assert problem.message.startswith("is missing. ")
    assert len(problem.message) > len("is missing. ")


@pytest.mark.parametrize("document", [None, [], "kind: AsyncDiffJob", 7, {}])
def test_what_is_no_job_at_all_is_refused(document: object) -> None:
    assert not isinstance(validate(document), AsyncDiffJob)


def test_all_problems_are_told_at_once() -> None:
    document = job(
        {"spec.generate.steps": 0, "spec.output.format": "png", "spec.extra": 1, "spec.model.dtype": 4}
    )
    with pytest.raises(InvalidJobError) as raised:
        load(document)
    assert {problem.dotted for problem in raised.value.problems} == {
        "spec.generate.steps",
        "spec.output.format",
        "spec.extra",
        "spec.model.dtype",
    }
    assert str(raised.value).count("\n") == 3


def test_entries_that_share_their_key_are_refused() -> None:
    problem = only_problem(job({"spec.pod.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}))
    assert (problem.dotted, problem.message) == ("spec.pod.env", "name A occurs 2 times: keep one of them")


def test_a_key_with_a_dot_of_its_own_stands_in_brackets() -> None:
    problem = only_problem(job({"spec.pod": {"labels": {"example.com/team": 7}}}))
    assert problem.dotted == "spec.pod.labels[example.com/team]"


def test_null_is_not_set() -> None:
    document = job()
    document["spec"]["generate"] |= {"steps": None, "seeds": None, "negativePrompt": None}
    document["spec"]["pod"] = {"labels": {"team": None}}
    assert load(document) == load(job())


def test_nulls_in_free_form_objects_are_kept() -> None:
    loaded = load(job({"spec.generate.options": {"a": None, "b": [None]}}))
    assert loaded.spec.generate.options == {"a": None, "b": [None]}
    assert loaded.document()["spec"]["generate"]["options"] == {"a": None, "b": [None]}


def test_a_whole_number_written_with_a_point_is_an_integer() -> None:
    assert load(job({"spec.generate.steps": 20.0})).spec.generate.steps == 20


def test_snake_case_is_python_s_alone() -> None:
    problem = only_problem(job({"spec.parallelism.gpus_per_pod": 4}))
    assert problem.suggestion == "gpusPerPod"


def test_a_stored_job_with_its_status_is_read_without_the_status() -> None:
    stored = job({"status": {"phase": "Running", "fromAFutureVersion": 1}})
    stored["metadata"] |= {
        "uid": "0d3b",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    loaded = load(stored)
    assert loaded.status is None
    assert loaded.metadata.uid == "0d3b"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {(1, 2): 3}], ids=repr)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    assert "JSON cannot say" in only_problem(job({"spec.generate.options": {"eta": value}})).message


def test_a_document_without_a_kind_hears_of_its_other_problems_too() -> None:
    result = validate(job({"kind": None, "spec.generate.height": 7, "spec.model": None}))
    assert not isinstance(result, AsyncDiffJob)
    assert {problem.dotted for problem in result} == {"kind", "spec.generate.height", "spec.model"}


@given(jobs())
def test_a_document_read_and_written_reads_the_same(document: dict[str, Any]) -> None:
    loaded = load(document)
    assert load(loaded.document()) == loaded


@given(spoiled_jobs())
def test_every_document_gets_a_verdict_and_every_problem_a_sentence(document: dict[str, Any]) -> None:
    result = validate(document)
    if isinstance(result, AsyncDiffJob):
        return
    assert result
    for problem in result:
        assert problem.message
        assert "\n" not in str(problem).replace("\\n", "")


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    written = job({"spec.pod.resources.limits": {"cpu": 4.0}, "spec.parallelism.batchSize": 2.0})
    result = validate(written)
    assert isinstance(result, AsyncDiffJob), result
    assert result.document()["spec"]["pod"]["resources"]["limits"] == {"cpu": 4}
