"""The words of a problem: what a field wants, what was found there, and what was probably meant."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from asyncdiff_api.describe import Kind, Shape, fields
from asyncdiff_api.fields import Range

_SHOWN_CHARACTERS = 60


def expectation(shape: Shape) -> str:
    """What the field wants, to complete "must be ..."."""
    choices = _any_of(shape.choices)
    match shape.kind:
        case Kind.BOOLEAN:
            return "true or false"
        case Kind.INTEGER:
            return f"an integer{_between(shape.numbers)}"
        case Kind.NUMBER:
            return f"a number{_between(shape.numbers)}"
        case Kind.INTEGER_OR_STRING:
            return f"an integer{_between(shape.numbers)}, or {choices or _text(shape)}"
        case Kind.LIST:
            return f"a list{_size(shape, 'entry', 'entries')}"
        case Kind.MAP | Kind.FREE_FORM:
            return f"a mapping{_size(shape, 'key', 'keys')}"
        case Kind.OBJECT:
            return f"a mapping with fields such as {', '.join(list(shape.fields or {})[:3])}"
        case _:
            return choices or _text(shape)


def found(value: Any) -> str:
    """What a value is, as people would name it."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "nothing"
        case int() | float():
            return f"the number {value}"
        case str() if len(value) > _SHOWN_CHARACTERS:
            return f"{len(value)} characters"
        case str():
            return f'the text "{value}"'
        case Mapping():
            return f"a mapping of {_counted(len(value), 'key', 'keys')}"
        case list() | tuple():
            return f"a list of {_counted(len(value), 'entry', 'entries')}"
        case _:
            return f"a {type(value).__name__}"


def remedy(shape: Shape, value: Any) -> str:
    """What to write instead, where the mistake is a well-known one; else nothing."""
    wants_text = bool(shape.choices or shape.text) and shape.kind is not Kind.INTEGER_OR_STRING
    if isinstance(value, bool) and wants_text:
        return "; YAML reads a bare yes, no, on or off as true or false: put text in quotes"
    if isinstance(value, (int, float)) and wants_text:
        return f'; put it in quotes: "{value}"'
    if isinstance(value, str) and shape.kind in (Kind.INTEGER, Kind.NUMBER) and _is_number(value):
        return f"; write {value} without quotes"
    if isinstance(value, str) and shape.kind is Kind.BOOLEAN and value.lower() in ("true", "false"):
        return f"; write {value.lower()} without quotes"
    if isinstance(value, str) and shape.kind is Kind.LIST:
        return '; write each entry on a line of its own that begins with "- "'
    return ""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant: spelled alike, but for case, '_' and '-'."""
    by_plain = {_plain(candidate): candidate for candidate in candidates}
    matches = get_close_matches(_plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[matches[0]] if matches else None


def nearest_field(word: str, owner: Shape) -> str | None:
    """The field that was probably meant: one of the same object, else one of that name elsewhere."""
    sibling = nearest(word, owner.fields or {})
    if sibling is not None:
        return sibling
    return next((shape.dotted for shape in fields() if _plain(shape.path[-1]) == _plain(word)), None)


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _text(shape: Shape) -> str:
    text = shape.text
    if text is None:
        return "text"
    most = f"at most {text.maximum} characters"
    return f"{text.meaning} ({most})" if text.meaning else f"text of {most}"


def _between(numbers: Range | None) -> str:
    return f" from {_plainly(numbers.minimum)} to {_plainly(numbers.maximum)}" if numbers else ""


def _plainly(number: float) -> str:
    return str(int(number) if number == int(number) else number)


def _size(shape: Shape, one: str, many: str) -> str:
    if shape.size is None:
        return ""
    least = getattr(shape.size, "minimum", 0)
    most = _counted(shape.size.maximum, one, many)
    return f" of {least} to {most}" if least else f" of at most {most}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _any_of(choices: tuple[str, ...]) -> str:
    """The choices as a phrase; the empty string among them is called empty."""
    named = [choice or "empty" for choice in choices]
    if len(named) < 2:
        return "".join(named)
    return f"{', '.join(named[:-1])} or {named[-1]}"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
