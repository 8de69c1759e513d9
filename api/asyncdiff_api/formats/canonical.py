"""Canonical JSON: one text for one value, whoever writes it, so that its hash can name it.

The text is that of RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code unit, no white space,
UTF-8, numbers as ECMAScript prints them (`5.0` and `5` are both `5`). One thing is wider than the RFC: whole
numbers up to 64 bits are printed exactly, because seeds have 64 bits and a double has 53.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring

MAX_DEPTH = 64
"""Deepest nesting of lists and maps that is written."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""Whole numbers outside this range are refused."""

_PLAIN_UP_TO_DIGITS = 21  # ECMA-262, Number::toString, step 7 and following
_LEADING_ZEROS_UP_TO = 6


quote: Callable[[str], str] = encode_basestring
"""Gives a JSON string with only those escapes that RFC 8785 asks for, before it is encoded."""


class NotCanonicalError(ValueError):
    """A value has no canonical text; the message names the place and the remedy."""


def canonical_json(value: object) -> bytes:
    """Gives the canonical text of a JSON value, as UTF-8.

    Args:
        value: None, bool, int, float, str, and lists, tuples and maps of these.

    Raises:
        NotCanonicalError: The value holds NaN, an infinity, a whole number beyond 64 bits, a lone surrogate,
            a key that is not a string, another type, or is nested deeper than `MAX_DEPTH`.
    """
    return utf8(canonical_text(value))


def canonical_text(value: object, *place: str) -> str:
    """Gives what `canonical_json` gives, before it is encoded; `place` leads to the value in error messages."""
    return _write(value, place)


def utf8(text: str) -> bytes:
    """Encodes text as UTF-8.

    Raises:
        NotCanonicalError: The text holds half of a surrogate pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X}"
        raise NotCanonicalError(
            f"the text holds {found}, half of a surrogate pair; write the whole character"
        ) from error


def sha256_digest(data: bytes) -> str:
    """Gives `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_number(value: float) -> str:
    """Prints a finite double as ECMAScript does: the shortest digits that read back as the same double.

    Raises:
        NotCanonicalError: The value is NaN or infinite.
    """
    if not math.isfinite(value):
        raise NotCanonicalError(f"the number is {value}; only finite numbers can be asked for")
    if value == 0:
        return "0"
    if "e" not in (text := repr(value)):
        return text.removesuffix(".0")
    return ("-" if value < 0 else "") + _layout(Decimal(repr(abs(value))))


def _layout(number: Decimal) -> str:
    """Places the point in a positive number's digits (ECMA-262, Number::toString)."""
    _, raw, exponent = number.as_tuple()
    digits = "".join(map(str, raw)).rstrip("0")
    point = len(raw) + int(exponent)
    if len(digits) <= point <= _PLAIN_UP_TO_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _PLAIN_UP_TO_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -_LEADING_ZEROS_UP_TO < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"


def _write(value: object, path: tuple[str, ...]) -> str:
    if len(path) > MAX_DEPTH:
        raise NotCanonicalError(
            f"{_place(path[:3])}… is nested deeper than {MAX_DEPTH} levels; flatten the value"
        )
    match value:
        case str():
            return quote(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value, path)
        case float():
            try:
                return canonical_number(value)
            except NotCanonicalError as error:
                raise NotCanonicalError(f"{_place(path)}: {error}") from None
        case Mapping():
            return _map(value, path)
        case list() | tuple():
            return "[" + ",".join(_write(item, (*path, str(at))) for at, item in enumerate(value)) + "]"
    raise NotCanonicalError(
        f"{_place(path)} is of type {type(value).__name__}; only JSON's types can be asked for"
    )


def _map(value: Mapping[object, object], path: tuple[str, ...]) -> str:
    keys: list[str] = []
    for key in value:
        if not isinstance(key, str):
            raise NotCanonicalError(
                f"{_place(path)} has the key {key!r}, which is not a string; quote the key"
            )
        keys.append(key)
    ordered = sorted(keys) if all(map(str.isascii, keys)) else sorted(keys, key=_utf16)
    return "{" + ",".join(f"{quote(key)}:{_write(value[key], (*path, key))}" for key in ordered) + "}"


def _integer(value: int, path: tuple[str, ...]) -> str:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise NotCanonicalError(f"{_place(path)} is a whole number beyond 64 bits; use a smaller one")
    return str(int(value))


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _place(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the value"
