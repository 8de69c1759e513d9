"""YAML scalars as kubectl reads them, so that a job means the same to both.

kubectl's YAML is neither PyYAML's 1.1 nor 1.2: `1e3` is a number, `1:30` and `2026-01-01` are text, and `on`
is true. The rules here are those of sigs.k8s.io/yaml.
"""

from __future__ import annotations

import math
import re

import yaml

_TAG = "tag:yaml.org,2002:"
NULL, BOOLEAN, INTEGER, FLOAT, MERGE, MAPPING, SEQUENCE = (
    _TAG + name for name in ("null", "bool", "int", "float", "merge", "map", "seq")
)
UNKNOWN_TAG = "The tag '{}' means nothing to Kubernetes: write the value without it"

_TRUE = ("yes", "true", "on")
_FALSE = ("no", "false", "off")
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class NotInJsonError(Exception):
    """A YAML scalar that has no counterpart in JSON, so that no API server can be told of it."""


_WORDS = "|".join(form for word in (*_TRUE, *_FALSE) for form in (word, word.capitalize(), word.upper()))
_FIRST_CHARACTERS_AND_FORMS = (
    (BOOLEAN, "yYnNtTfFoO", _WORDS),
    (INTEGER, "-+0123456789", "[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)"),
    (FLOAT, "-+0123456789.", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
    (FLOAT, "-+.", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
    (NULL, "~nN", "~|null|Null|NULL"),
    (MERGE, "<", "<<"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Gives what PyYAML asks for: first character of a plain scalar → tags with the forms that earn them."""
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {"": [(NULL, re.compile("^$"))]}
    for tag, characters, form in _FIRST_CHARACTERS_AND_FORMS:
        for character in characters:
            table.setdefault(character, []).append((tag, re.compile(f"^(?:{form})$")))
    return table


class JobLoader(yaml.SafeLoader):
    """PyYAML's safe loader with kubectl's idea of what a plain scalar means."""

    yaml_implicit_resolvers = _resolvers()


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
                raise NotInJsonError(
                    f"the tag '{node.tag}' means nothing to Kubernetes; write the value without it"
                )
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
    digits = text.lstrip("+-").replace("_", "")
    base = _BASES.get(digits[:2])
    if base is not None:
        return sign * int(digits[2:], base)
    if digits.startswith("0") and digits.strip("01234567") == "":
        return sign * int(digits, 8)
    return sign * int(digits)


def _float(text: str) -> float:
    number = float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.replace("_", ""), flags=re.IGNORECASE))
    if not math.isfinite(number):
        raise OverflowError("no finite number")
    return number
