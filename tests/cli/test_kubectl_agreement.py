"""A job file means to `asyncdiff` what it means to the real kubectl."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.files.documents import read_documents
from support.tools import KUBE, find_programs

pytestmark = pytest.mark.cluster

WORDS = [
    "y",
    "n",
    "yes",
    "no",
    "on",
    "off",
    "true",
    "false",
    "null",
    "nan",
    "inf",
    "~",
    "a",
    "1:30",
    "2026-01-01",
]
HEAD = "apiVersion: asyncdiff.dev/v1alpha1\nkind: AsyncDiffJob\nmetadata: {name: x}\n"


@pytest.fixture(scope="module")
def kubectl() -> Path:
    return find_programs(KUBE, ["kubectl"])["kubectl"]


def as_kubectl_reads(kubectl: Path, text: str) -> Any:
    """Gives the `spec` of an object as kubectl would send it."""
    command = [str(kubectl), "annotate", "--local", "--filename", "-", "--output", "json", "read=yes"]
    done = subprocess.run(command, input=HEAD + text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout).get("spec")


def as_we_read(text: str) -> Any:
    reading = read_documents(HEAD + text)
    (document,) = reading.documents
    assert reading.flaw is None
    assert document.flaws == ()
    assert isinstance(document.content, dict)
    return document.content.get("spec")


def same_on_both(kubectl: Path, scalars: list[str]) -> None:
    text = "spec:\n" + "".join(f"  k{index}: {scalar}\n" for index, scalar in enumerate(scalars))
    theirs, ours = as_kubectl_reads(kubectl, text), as_we_read(text)
    differing = [
        (scalar, theirs[f"k{index}"], ours[f"k{index}"])
        for index, scalar in enumerate(scalars)
        # In JSON 8.0 is 8, but true is not 1.
        if theirs[f"k{index}"] != ours[f"k{index}"]
        or isinstance(theirs[f"k{index}"], bool) != isinstance(ours[f"k{index}"], bool)
    ]
    assert differing == []


def test_every_short_scalar_of_number_characters_is_read_alike(kubectl: Path) -> None:
    scalars = [
        "".join(letters)
        for size in (1, 2, 3, 4)
        for letters in itertools.product("0178.-+e_xob", repeat=size)
    ]
    same_on_both(kubectl, [scalar for scalar in scalars if scalar not in ("-", "---", "...")])


def test_every_word_is_read_alike_however_it_is_written(kubectl: Path) -> None:
    forms = [form for word in WORDS for form in (word, word.capitalize(), word.upper(), word.swapcase())]
    same_on_both(kubectl, [*forms, *(f"'{form}'" for form in forms), *(f"!!str {form}" for form in forms)])


@pytest.mark.parametrize(
    "text",
    [
        "spec: {a: [1, two, 3.0], b: {c: null}}\n",
        "spec:\n  a: &a {x: 1, y1: 2}\n  b:\n    <<: *a\n    x: 3\n  c: *a\n",
        "spec:\n  a: &a {x: 1}\n  b: &b {x: 2, z: 2}\n  c:\n    <<: [*a, *b]\n",
        "spec:\n  a: |\n    one\n    two\n  b: >-\n    one\n    two\n",
        "spec:\n  1: a\n  08: b\n  0x10: c\n  1e3: d\n  1.50: e\n  1_0: f\n",
        'spec: {"a": "\\u00fc", "b": "\\x41"}\n',
        "spec:\n  a:\n  b: ''\n",
    ],
)
def test_structure_is_read_alike(kubectl: Path, text: str) -> None:
    assert as_we_read(text) == as_kubectl_reads(kubectl, text)


def test_kubectl_takes_the_last_of_two_fields_of_a_name_which_is_why_we_refuse_both(kubectl: Path) -> None:
    text = "spec:\n  a: 1\n  a: 2\n"
    assert as_kubectl_reads(kubectl, text) == {"a": 2}
    assert [flaw.place.line for flaw in read_documents(HEAD + text).documents[0].flaws] == [6]
