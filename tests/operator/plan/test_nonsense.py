"""What people may write into a job's children stops nothing: a plan is made, and the job goes its way."""

from __future__ import annotations

from typing import Any

import pytest
from asyncdiff_api.formats.container import JOB_FILE
from asyncdiff_api.validation import load
from asyncdiff_operator.apply import shard_of
from asyncdiff_operator.children.config_map import is_up_to_date, number_of_shards
from asyncdiff_operator.intent import Create
from asyncdiff_operator.names import (
    ACTIVE_SECONDS_ANNOTATION,
    DRAINS_ANNOTATION,
    INDEX_ANNOTATION,
    RESUMES_ANNOTATION,
)
from asyncdiff_operator.plan import plan
from asyncdiff_operator.reading.numbers import MOST_DIGITS, read_number
from hypothesis import given
from hypothesis import strategies as st
from support.children import (
    DEFAULTS,
    Document,
    after,
    config,
    counts,
    ended,
    observe,
    pod,
    result,
    shards,
    stored,
)

NONSENSE = ("", "-1", "1.5", "one", "٣" * 40, "9" * 5000)
JOB = stored()


def annotated(manifest: Document, name: str, text: str) -> Document:
    """The same with an annotation that somebody has changed."""
    metadata = manifest["metadata"]
    notes = {**metadata.get("annotations", {}), name: text}
    return {**manifest, "metadata": {**metadata, "annotations": notes}}


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:5])
def test_numbers_that_are_none_in_annotations_leave_a_job_to_its_work(text: str) -> None:
    jobs, pods = shards(JOB, completedIndexes=text), pod(JOB, 0, result=result(counts(done=1)))
    for name in (ACTIVE_SECONDS_ANNOTATION, RESUMES_ANNOTATION):
        jobs = annotated(jobs, name, text)
    for name in (INDEX_ANNOTATION, DRAINS_ANNOTATION):
        pods = annotated(pods, name, text)
    done = annotated(pod(JOB, 1, "done"), INDEX_ANNOTATION, text)

    wanted = plan(observe(JOB, config(JOB), jobs, pods, done, pod(JOB, 2)), DEFAULTS, after(minutes=1))

    assert wanted.status is not None
    assert str(wanted.status.phase) == "Running"
    assert shard_of(pods) == {}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {JOB_FILE: ""},
        {JOB_FILE: "[]"},
        {JOB_FILE: '{"spec": {"parallelism": 3}}'},
        {JOB_FILE: "[" * 9999},
    ],
    ids=lambda content: str(content)[:20],
)
def test_a_config_map_of_somebody_elses_content_is_not_what_the_finish_step_reads(
    content: dict[str, Any],
) -> None:
    replaced = {**config(JOB), "data": content}
    assert not is_up_to_date(load(JOB), replaced)
    assert number_of_shards(load(JOB), replaced) == 4

    done = shards(JOB, completedIndexes="0-3", succeeded=4, conditions=ended("Complete"))
    pods = [pod(JOB, shard, "done", result=result(counts(done=1, total=1))) for shard in range(4)]
    wanted = plan(observe(JOB, replaced, done, *pods), DEFAULTS, after(minutes=5))
    made = [each.manifest["kind"] for each in wanted.operations if isinstance(each, Create)]
    assert made == ["ConfigMap", "Job"]


@given(st.integers(0, 10**MOST_DIGITS - 1))
def test_a_number_is_read_as_it_is_written(number: int) -> None:
    assert read_number(str(number)) == number


@given(st.text() | st.none() | st.integers())
def test_what_is_no_number_is_none(text: object) -> None:
    found = read_number(text)
    assert found is None or (isinstance(text, str) and found == int(text))
