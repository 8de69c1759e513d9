"""Canonical JSON: one text for one value, as RFC 8785 has it, wider only for whole numbers of 64 bits."""

import json
import math
import struct
from typing import Any

import pytest
from asyncdiff_api.formats.canonical import NotCanonicalError, canonical_json, canonical_number, sha256_digest
from hypothesis import given
from hypothesis import strategies as st

# RFC 8785, appendix B: the double's bits and its text.
RFC_NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "text"), RFC_NUMBERS)
def test_numbers_are_printed_as_the_rfc_prints_them(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_number(value) == text


def test_strings_are_escaped_as_the_rfc_escapes_them() -> None:
    text = '€$\x0f\nA\'B"\\\\"/\x7f\u2028é😀'
    assert canonical_json(text).decode() == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\u2028é😀"'


def test_keys_are_sorted_by_utf16_code_units() -> None:
    names = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7}
    assert list(json.loads(canonical_json(names))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]


@given(JSON_VALUES)
def test_the_text_reads_back_as_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value), parse_int=float) == json.loads(
        json.dumps(value), parse_int=float
    )


@given(JSON_VALUES)
def test_the_text_of_what_was_read_is_the_text(value: Any) -> None:
    text = canonical_json(json.loads(json.dumps(value)))
    assert text == canonical_json(value)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9)))
def test_the_order_of_keys_does_not_matter(values: dict[str, int]) -> None:
    assert canonical_json(values) == canonical_json(dict(reversed(values.items())))


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_double_has_the_text_of_the_whole_number(value: int) -> None:
    assert canonical_json(float(value)) == canonical_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_keeps_its_value(value: float) -> None:
    assert float(canonical_number(value)) == value


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63)])
def test_seeds_of_64_bits_are_exact(seed: int) -> None:
    assert canonical_json(seed).decode() == str(seed)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"options": {"eta": math.nan}}, "options.eta: the number is nan"),
        ([1.0, math.inf], "1: the number is inf"),
        ({"a": 2**64}, "a is a whole number beyond 64 bits"),
        ({"a": "\ud800"}, "U+D800, half of a surrogate pair"),
        ({"a": {1: 2}}, "a has the key 1, which is not a string"),
        ({"a": {3}}, "a is of type set"),
        ({"a": b"bytes"}, "a is of type bytes"),
    ],
)
def test_what_has_no_canonical_text_is_refused_by_name(value: object, words: str) -> None:
    with pytest.raises(NotCanonicalError) as caught:
        canonical_json(value)
    assert words in str(caught.value)


def test_bottomless_nesting_is_refused() -> None:
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(NotCanonicalError, match="nested deeper than 64"):
        canonical_json(value)


def test_digests_name_their_hash() -> None:
    assert sha256_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
