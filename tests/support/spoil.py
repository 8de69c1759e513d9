"""What people get wrong in a document, drawn at random; some of it the API takes all the same."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from asyncdiff_api.describe import Kind, Shape, child, job_shape
from asyncdiff_api.fields import Items
from hypothesis import strategies as st

from support.jobs import jobs, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

Document = dict[str, Any]
_Place = tuple[Any, str | int, Shape]

_WRONG_TYPES: tuple[Any, ...] = (True, 7, -1, 4.5, "7", "text", "", [], [7], {}, {"x": 1}, None)

_ODD_TEXT = st.text("aZ09-._/: \n\t\u2028\u0130\u212a\u0660", max_size=2)


def spoiled_jobs() -> SearchStrategy[Document]:
    """Valid documents with one to three changes, most of which no API server takes."""
    return _spoiled()


@st.composite
def _spoiled(draw: DrawFn) -> Document:
    document = copy.deepcopy(draw(jobs()))
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(_CHANGES))
        change(draw, document)
    return document


def _another_type(draw: DrawFn, document: Document) -> None:
    owner, name, _ = _place(draw, document)
    owner[name] = copy.deepcopy(draw(st.sampled_from(_WRONG_TYPES)))


def _out_of_bounds(draw: DrawFn, document: Document) -> None:
    """One less or one more than the bounds allow, or exactly as much."""
    owner, name, shape = _place(draw, document)
    beyond = draw(st.sampled_from((0, 1)))
    if shape.numbers is not None:
        step = beyond if shape.kind is Kind.INTEGER else beyond / 2
        low, high = shape.numbers.minimum - step, shape.numbers.maximum + step
        owner[name] = draw(st.sampled_from((low, high)))
    elif shape.text is not None:
        owner[name] = "a" * (shape.text.maximum + beyond)
    elif isinstance(shape.size, Items) and shape.entry is not None and not shape.size.key:
        owner[name] = [draw(values(shape.entry))] * (shape.size.maximum + beyond)
    elif shape.size is not None and shape.kind in (Kind.MAP, Kind.FREE_FORM):
        owner[name] = {f"k{position}": "1" for position in range(shape.size.maximum + beyond)}


def _near_miss(draw: DrawFn, document: Document) -> None:
    """A text with characters put in somewhere: where expressions of two dialects could differ."""
    owner, name, _ = _place(draw, document)
    if isinstance(text := owner[name], str):
        position = draw(st.integers(0, len(text)))
        owner[name] = text[:position] + draw(_ODD_TEXT) + text[position:]


def _unknown(draw: DrawFn, document: Document) -> None:
    owner, name, _ = _place(draw, document)
    if isinstance(owner, dict) and isinstance(name, str):
        owner[draw(st.sampled_from((name.upper(), f"{name}s", f"x-{name}", "unknown")))] = owner[name]


def _missing(draw: DrawFn, document: Document) -> None:
    owner, name, _ = _place(draw, document)
    if owner is not document:
        del owner[name]


def another_value(draw: DrawFn, document: Document) -> None:
    """Another value that the field allows, whatever the rules between fields say."""
    owner, name, shape = _place(draw, document)
    owner[name] = copy.deepcopy(draw(values(shape)))


def _twice(draw: DrawFn, document: Document) -> None:
    owner, name, shape = _place(draw, document)
    if shape.kind is Kind.LIST and isinstance(owner[name], list):
        owner[name] = copy.deepcopy(owner[name] * 2)


def _place(draw: DrawFn, document: Document) -> _Place:
    """Somewhere in the spec: what holds the value, under which name, and what may be there.

    The innermost come first, which hypothesis prefers.
    """
    places = list(_places(document, "spec", child(job_shape(), "spec")))
    return draw(st.sampled_from(places[::-1]))


def _places(owner: Any, name: str | int, shape: Shape) -> Iterator[_Place]:
    yield owner, name, shape
    value = owner[name]
    if isinstance(value, dict):
        for key in value:
            inner = (shape.fields or {}).get(key, shape.entry)
            if inner is not None:
                yield from _places(value, key, inner)
    elif isinstance(value, list) and shape.entry is not None:
        for position in range(len(value)):
            yield from _places(value, position, shape.entry)


_CHANGES = (_another_type, _out_of_bounds, _near_miss, _unknown, _missing, another_value, _twice)
