"""The description of the API: complete, bounded, and free of words that YAML takes for something else."""

from __future__ import annotations

import re

import pytest
import yaml
from asyncdiff_api.describe import Kind, Shape, fields, find, job_shape, leaves
from asyncdiff_api.fields import Label

SPEC_LEAVES = tuple(leaves("spec"))
ALL_FIELDS = tuple(fields())


def test_every_field_of_the_spec_says_whether_it_is_identity_and_whether_it_may_change() -> None:
    assert [leaf.dotted for leaf in SPEC_LEAVES if not isinstance(leaf.label, Label)] == []


def test_every_field_is_described_in_sentences() -> None:
    assert [
        field.dotted for field in ALL_FIELDS if not re.fullmatch(r"[A-Z0-9].*\.", field.description)
    ] == []


def test_every_field_is_bounded_so_that_rules_have_a_cost() -> None:
    assert [field.dotted for field in ALL_FIELDS if not _is_bounded(field)] == []


def _is_bounded(shape: Shape) -> bool:
    match shape.kind:
        case Kind.LIST | Kind.MAP:
            return shape.size is not None and shape.entry is not None and _is_bounded(shape.entry)
        case Kind.FREE_FORM:
            return shape.size is not None
        case Kind.STRING:
            return bool(shape.choices or shape.text)
        case Kind.INTEGER | Kind.NUMBER | Kind.INTEGER_OR_STRING:
            return shape.numbers is not None
        case _:
            return True


def test_names_and_choices_that_people_write_are_text_to_a_yaml_parser() -> None:
    words = {
        word for field in fields() if field.path[0] == "spec" for word in (field.path[-1], *field.choices)
    }
    assert {word for word in words - {"[]", ""} if not isinstance(yaml.safe_load(word), str)} == set()
    assert words.isdisjoint({"y", "n", "Y", "N"})


def test_a_pattern_is_explained_in_words() -> None:
    patterns = [field.text for field in ALL_FIELDS if field.text and field.text.pattern]
    assert [text.pattern for text in patterns if not text.meaning] == []


def test_only_what_can_change_while_pods_run_is_mutable() -> None:
    assert {leaf.dotted for leaf in SPEC_LEAVES if leaf.mutable} == {
        "spec.parallelism.pods",
        "spec.acceptance.maxFailedItems",
        "spec.run.suspend",
        "spec.run.startDeadlineSeconds",
        "spec.run.activeDeadlineSeconds",
        "spec.run.ttlSecondsAfterFinished",
        "spec.run.forceDeleteAfterSeconds",
    }


def test_where_and_when_a_job_runs_is_no_part_of_an_items_identity() -> None:
    sections = {leaf.path[1] for leaf in SPEC_LEAVES if leaf.identity}
    assert sections == {"model", "generate", "parallelism", "output"}
    hardware = {"gpusPerPod", "pods", "device", "shards", "batchSize", "compile"}
    assert hardware == {
        leaf.path[2] for leaf in SPEC_LEAVES if leaf.path[1] == "parallelism" and not leaf.identity
    }
    assert {leaf.path[2] for leaf in SPEC_LEAVES if leaf.path[1] == "output" and leaf.identity} == {
        "format",
        "encoderQuality",
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("spec", Kind.OBJECT),
        ("spec.parallelism.batchSize", Kind.INTEGER_OR_STRING),
        ("spec.model.adapters", Kind.LIST),
        ("spec.model.adapters.weight", Kind.NUMBER),
        ("spec.model.adapters[].weight", Kind.NUMBER),
        ("spec.generate.scheduler.class", Kind.STRING),
        ("spec.generate.options", Kind.FREE_FORM),
        ("status.startTime", Kind.TIMESTAMP),
    ],
)
def test_a_field_is_found_by_its_path(path: str, kind: Kind) -> None:
    found = find(path)
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize("path", ["spec.parallelism.gpus", "spec.model.dtype.more", "metadata.nothing", ""])
def test_a_path_that_names_no_field_finds_none(path: str) -> None:
    assert find(path) is None


def test_paths_are_unique() -> None:
    paths = [field.dotted for field in ALL_FIELDS]
    assert len(paths) == len(set(paths))
    assert job_shape().path == ()
