"""YAML is read as kubectl reads it, and every value knows where it stood."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from asyncdiff_api.files.documents import MAX_VALUES, Document, Place, read_documents
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue


def one(text: str) -> Document:
    reading = read_documents(text)
    assert reading.flaw is None
    (document,) = reading.documents
    return document


def only_flaw(text: str) -> tuple[int, int, str]:
    reading = read_documents(text)
    flaws = [flaw for document in reading.documents for flaw in document.flaws]
    (flaw,) = [*flaws, reading.flaw] if reading.flaw else flaws
    return flaw.place.line, flaw.place.column, flaw.message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("50", 50),
        ("-3", -3),
        ("010", 8),
        ("08", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("5.0", 5.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        (".5", 0.5),
        ("on", True),
        ("No", False),
        ("TRUE", True),
        ("y", True),
        ("N", False),
        ("oN", "oN"),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("'50'", "50"),
        ("!!str 50", "50"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1.0.0", "1.0.0"),
        ("=", "="),
    ],
)
def test_a_scalar_means_what_kubectl_takes_it_for(written: str, value: JsonValue) -> None:
    content = one(f"field: {written}\n").content
    assert content == {"field": value}
    assert isinstance(content, dict)
    assert type(content["field"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' is given twice, first on line 1"),
        ("a:\n  b: 1\n  b: 1\n", 3, 3, "'b' is given twice, first on line 2"),
        ("a:\n\tb: 1\n", 2, 1, "A tab stands where YAML allows only spaces"),
        ("a: [1, 2\nb: 3\n", 2, 2, "This is not YAML"),
        ("a: b: c\n", 1, 5, "This is not YAML: mapping values are not allowed here"),
        ("a: &x [*x]\n", 1, 1, "an alias holds itself"),
        ("a: *nobody\n", 1, 4, "undefined alias"),
        ("a: .nan\n", 1, 4, "use a number that JSON can say"),
        ("a: 1e999\n", 1, 4, "use a number that JSON can say"),
        ("a: !!int seven\n", 1, 4, "'seven' cannot be read as int"),
        ("a: !!python/object:os.system {}\n", 1, 4, "means nothing to Kubernetes"),
        ('a: "\\ud83d"\n', 1, 4, "cannot be read as str"),
        ("a: !Ref x\n", 1, 4, "the tag '!Ref' means nothing to Kubernetes"),
        ("on: 1\n", 1, 1, "'on' is read as true, which names no field: put it in quotes."),
        ("? [a]\n: 1\n", 1, 3, "A list or mapping cannot name a field"),
        ("a: 1\nb: x\x07y\n", 2, 5, "The character U+0007 is not allowed"),
    ],
)
def test_a_flaw_in_the_yaml_is_told_with_its_place(text: str, line: int, column: int, words: str) -> None:
    found = only_flaw(text)
    assert words.lower() in found[2].lower()
    assert found[:2] == (line, column)


def test_documents_before_a_flaw_are_still_read() -> None:
    reading = read_documents("a: 1\n---\nb: [\n")
    assert [document.content for document in reading.documents] == [{"a": 1}]
    assert reading.flaw is not None
    assert reading.flaw.place.line == 4


def test_empty_documents_are_left_out() -> None:
    reading = read_documents("---\n---\n# nothing\n---\na: 1\n---\n")
    assert [document.content for document in reading.documents] == [{"a": 1}]
    assert reading.documents[0].start.line == 5


def test_anchors_and_merges_give_what_they_stand_for() -> None:
    document = one("base: &base {a: 1, b: 2}\njob:\n  <<: *base\n  b: 3\nagain: *base\n")
    assert document.content == {"base": {"a": 1, "b": 2}, "job": {"a": 1, "b": 3}, "again": {"a": 1, "b": 2}}
    assert document.place_of(("job", "b")) == Place(4, 3, 1)


def test_of_several_merges_the_first_wins() -> None:
    document = one("a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc:\n  <<: [*a, *b]\n")
    assert isinstance(document.content, dict)
    assert document.content["c"] == {"x": 1, "z": 2}


def test_nested_aliases_cannot_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert f"more than {MAX_VALUES} values" in only_flaw("\n".join(lines))[2]


def test_deep_nesting_is_refused() -> None:
    assert "nested deeper" in only_flaw("a: " + "[" * 5000 + "]" * 5000)[2]


def test_a_place_is_that_of_the_nearest_field_that_is_there() -> None:
    document = one("spec:\n  prompts:\n    - a fox\n    - 7\n  height: 1024\n")
    assert document.place_of(("spec", "height")) == Place(5, 3, 6)
    assert document.place_of_value(("spec", "height")) == Place(5, 11, 4)
    assert document.place_of_value(("spec", "prompts", 1)) == Place(4, 7, 1)
    assert document.place_of(("spec", "width", "missing")) == Place(1, 1, 4)
    assert document.place_of(("status",)) == document.start


# YAML itself allows a key on one line no more than 1024 characters, and JSON escapes one as six.
names = st.text(max_size=100)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, plain_json, max_size=4))
def test_json_is_read_as_itself(value: dict[str, JsonValue]) -> None:
    assert one(json.dumps(value)).content == value


@given(st.dictionaries(names, plain_json, max_size=4))
def test_quoted_yaml_is_read_back(value: dict[str, JsonValue]) -> None:
    text = yaml.safe_dump(value, default_style='"')
    assert one(text).content == value


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused_and_never_breaks_the_reader(text: str) -> None:
    reading = read_documents(text)
    flaws = [flaw for document in reading.documents for flaw in document.flaws]
    for flaw in [*flaws, reading.flaw] if reading.flaw else flaws:
        assert 1 <= flaw.place.line <= text.count("\n") + text.count("\r") + text.count("\x85") + 3
        assert math.isfinite(flaw.place.column)
