"""Operator and pods agree on the number of shards."""

from __future__ import annotations

from typing import Any

import pytest
from asyncdiff_api.formats.shards import shards_of
from asyncdiff_api.validation import load
from support.jobs import job as document

LIST = {"worklist": {"configMap": {"name": "list", "key": "list.jsonl"}}}


@pytest.mark.parametrize(
    ("changes", "shards"),
    [
        ({"spec.parallelism": {"shards": 7, "pods": 2}, "spec.generate": LIST}, 7),
        ({"spec.parallelism": {"pods": 3}, "spec.generate": LIST}, 12),
        ({"spec.parallelism": {"pods": 3}, "spec.generate.seeds": {"count": 40}}, 12),
        ({"spec.parallelism": {"pods": 3}, "spec.generate.seeds": {"count": 5}}, 5),
        ({}, 1),
    ],
)
def test_shards_are_the_jobs_own_number_or_four_a_pod_and_at_most_one_an_item(
    changes: dict[str, Any], shards: int
) -> None:
    assert shards_of(load(document(changes))) == shards
