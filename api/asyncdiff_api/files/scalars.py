"""YAML scalars as kubectl reads them, so that a job means the same to both.

kubectl's YAML is neither PyYAML's 1.1 nor 1.2: `1e3` is a number, `1:30` and `2026-01-01` are text, and `y` is
true. A test compares the two on every short scalar.
"""

from __future__ import annotations

import math
import re

import yaml

_TAG = "tag:yaml.org,2002:"
NULL, BOOLEAN, INTEGER, FLOAT, STRING, MERGE, MAPPING, SEQUENCE = (
    _TAG + name for name in ("null", "bool", "int", "float", "str", "merge", "map", "seq")
)
UNKNOWN_TAG = "The tag '{}' means nothing to Kubernetes: write the value without it"

_TRUE = ("y", "yes", "true", "on")
_FALSE = ("n", "no", "false", "off")
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class NotInJsonError(Exception):
    """A YAML scalar that has no counterpart in JSON, so that no API server can be told of it."""


_WORDS = "|".join(form for word in _TRUE + _FALSE for form in (word, word.capitalize(), word.upper()))
_FORMS = tuple(
    (tag, re.compile(form))
    for tag, form in (
        (NULL, "~|null|Null|NULL|"),
        (BOOLEAN, _WORDS),
        (INTEGER, "[-+]?(?:0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)|0b[-+][01]+"),
        (FLOAT, r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        (FLOAT, r"\.[0-9]+(?:_[0-9]+)+"),
        (FLOAT, r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
        (MERGE, "<<"),
    )
)


class JobLoader(yaml.SafeLoader):
    """PyYAML's safe loader with kubectl's idea of what a plain scalar means."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        """Gives the tag of a node that names none; of a plain scalar, the one that its form earns."""
        if kind is yaml.MappingNode:
            return MAPPING
        if kind is yaml.SequenceNode:
            return SEQUENCE
        is_plain, _ = implicit
        return _tag_of(value) if is_plain else STRING


def _tag_of(plain: str) -> str:
    starts_like_a_number = plain.startswith(tuple("-+0123456789"))
    form = _without_underscores(plain) if starts_like_a_number else plain
    return next((tag for tag, pattern in _FORMS if pattern.fullmatch(form)), STRING)


def _without_underscores(number: str) -> str:
    """Drops what may stand anywhere in a number, for the eye."""
    return number.replace("_", "")


def scalar_value(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """Gives the JSON value of a scalar.

    Raises:
        NotInJsonError: It is infinite, not a number, or carries a tag of its own.
    """
    text: str = node.value
    try:
        match node.tag.removeprefix(_TAG):
            case "str":
                return _joined(text)
            case "null":
                return None
            case "bool":
                return _boolean(text)
            case "int":
                return _integer(text)
            case "float":
                return _float(text)
            case _:
                raise NotInJsonError(UNKNOWN_TAG.format(node.tag))
    except OverflowError as error:
        raise NotInJsonError(f"'{text:.40}' is {error}; use a number that JSON can say") from error
    except ValueError as error:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise NotInJsonError(f"'{shown:.40}' cannot be read as {node.tag.removeprefix(_TAG)}") from error


def _joined(text: str) -> str:
    """Joins surrogate pairs, which is how JSON escapes what lies outside of the basic plane."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = _without_underscores(text).lstrip("+-")
    base = _BASES.get(digits[:2])
    if base is not None:
        return sign * int(digits[2:], base)
    if digits.startswith("0") and digits.strip("01234567") == "":
        return sign * int(digits, 8)
    return sign * int(digits)


def _float(text: str) -> float:
    number = float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", _without_underscores(text), flags=re.IGNORECASE))
    if not math.isfinite(number):
        raise OverflowError("no finite number")
    return number
