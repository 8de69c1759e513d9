"""`asyncdiff explain` and `asyncdiff crd` tell of the same models that judge a job."""

from __future__ import annotations

import json

import pytest
import yaml
from asyncdiff_api.crd import crd
from asyncdiff_api.describe import fields
from support.command import run


@pytest.mark.parametrize("field", [shape.dotted for shape in fields()])
def test_every_field_is_explained(field: str) -> None:
    result = run("explain", field)
    assert result.exit_code == 0
    assert result.output.startswith(f"{field}: ")


def test_a_field_shows_bounds_default_and_whether_it_may_change() -> None:
    output = run("explain", "spec.parallelism.pods").output
    assert "an integer from 1 to 10000; default 1" in output
    assert "May change while the job runs." in output


def test_a_section_lists_its_fields_and_recursion_all_below() -> None:
    assert "asyncStages: an object" in run("explain", "spec.parallelism").output
    assert "stride:" not in run("explain", "spec.parallelism").output
    assert "      stride:" in run("explain", "spec", "--recursive").output


@pytest.mark.parametrize(
    "written", ["adj.spec.model", "asyncdiffjob.spec.model", "spec.model", "spec.model."]
)
def test_a_path_may_be_written_as_for_kubectl(written: str) -> None:
    assert run("explain", written).output.startswith("spec.model: ")


def test_lists_are_walked_with_or_without_brackets() -> None:
    with_brackets = run("explain", "spec.model.adapters[].kind")
    assert with_brackets.output == run("explain", "spec.model.adapters.kind").output


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("spec.paralelism", "spec has no field 'paralelism'. Did you mean spec.parallelism?"),
        ("spec.parallelism.gpus_per_pod", "Did you mean spec.parallelism.gpusPerPod?"),
        ("gpusPerPod", "Did you mean spec.parallelism.gpusPerPod?"),
        ("spec.model.adapters.weigth", "Did you mean spec.model.adapters[].weight?"),
        ("spec.generate.steps.more", "spec.generate.steps has no fields of its own"),
        ("spec.zzzzzz", "spec has no field 'zzzzzz'. It has: model, generate"),
    ],
)
def test_a_misspelt_field_gets_a_hint(written: str, hint: str) -> None:
    result = run("explain", written)
    assert result.exit_code == 2
    assert hint in " ".join(result.output.replace("│", " ").split())


def test_json_output_holds_the_facts() -> None:
    facts = json.loads(run("explain", "spec.parallelism.pods", "-o", "json").output)
    assert facts["type"] == "integer"
    assert (facts["default"], facts["required"]) == (1, False)
    assert (facts["mutable"], facts["identity"]) == (True, False)
    whole = json.loads(run("explain", "-r", "-o", "json").output)
    assert [field["path"] for field in whole["fields"]][:2] == ["apiVersion", "kind"]


def test_crd_prints_the_resource_definition() -> None:
    assert yaml.safe_load(run("crd").output) == crd()
