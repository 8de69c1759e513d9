"""The models: frozen, strict, and the same in YAML and in Python."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncdiff_api.describe import Shape, leaves
from asyncdiff_api.generate import Generate, Seeds
from asyncdiff_api.job import AsyncDiffJob, JobSpec, Metadata
from asyncdiff_api.model import Model
from asyncdiff_api.output import S3, Output
from asyncdiff_api.parallelism import Parallelism, Strategy
from asyncdiff_api.status import Condition, ConditionStatus, JobStatus, Phase
from asyncdiff_api.validation import load
from pydantic import ValidationError
from support.jobs import job


def test_a_job_made_in_python_is_the_job_that_yaml_describes() -> None:
    made = AsyncDiffJob(
        metadata=Metadata(name="posters"),
        spec=JobSpec(
            model=Model(repository="stabilityai/stable-diffusion-xl-base-1.0"),
            generate=Generate(prompts=("a fox in the snow",), seeds=Seeds(count=4)),
            parallelism=Parallelism(gpus_per_pod=2, strategy=Strategy.LOOKAHEAD),
            output=Output(s3=S3(bucket="renders", prefix="posters/")),
        ),
    )
    changes = {
        "spec.generate.seeds": {"count": 4},
        "spec.parallelism": {"gpusPerPod": 2, "strategy": "Lookahead"},
    }
    assert made == load(job(changes))


def test_a_job_cannot_be_changed() -> None:
    generate: Any = load(job()).spec.generate
    with pytest.raises(ValidationError, match="frozen"):
        generate.steps = 3


@pytest.mark.parametrize("leaf", list(leaves("spec")), ids=lambda leaf: leaf.dotted)
def test_a_default_keeps_the_bounds_of_its_field(leaf: Shape) -> None:
    default = leaf.default
    if default is None:
        return
    if leaf.choices:
        assert default in leaf.choices
    if leaf.numbers is not None and isinstance(default, (int, float)):
        assert leaf.numbers.minimum <= default <= leaf.numbers.maximum


def test_defaults_written_out_are_the_defaults_left_out() -> None:
    loaded = load(job())
    document = loaded.document()
    assert document["spec"]["parallelism"]["batchSize"] == "Auto"
    assert load(document) == loaded


def test_scheduler_class_is_class_in_yaml() -> None:
    loaded = load(job({"spec.generate.scheduler": {"class": "EulerDiscreteScheduler"}}))
    assert loaded.spec.generate.scheduler.class_name == "EulerDiscreteScheduler"


def test_a_status_is_written_as_kubernetes_writes_it() -> None:
    condition = Condition(
        type="Complete",
        status=ConditionStatus.TRUE,
        reason="AllItemsDone",
        last_transition_time=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        observed_generation=3,
    )
    status = JobStatus(phase=Phase.COMPLETE, conditions=(condition,))
    assert status.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "phase": "Complete",
        "conditions": [
            {
                "type": "Complete",
                "status": "True",
                "reason": "AllItemsDone",
                "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "observedGeneration": 3,
            }
        ],
        "accountedShards": [],
    }


def test_a_status_of_a_newer_operator_is_read_without_what_is_new() -> None:
    status = JobStatus.model_validate_json(
        '{"phase": "Running", "items": {"done": 3, "skipped": 1}, "extra": {}}'
    )
    assert status.items is not None
    assert status.items.done == 3
