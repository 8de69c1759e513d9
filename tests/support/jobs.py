"""Job documents for tests: one that is as plain as can be, and any that the API allows.

`jobs()` draws valid documents over every field of the spec; `support.spoil` draws what people get wrong. Both
are made from the API's own description, so that a new field is covered the day it is added; only what rules
between fields ask for is written down, in `support.settle`.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from asyncdiff_api.describe import Kind, Shape, child, job_shape
from asyncdiff_api.fields import Items, Text
from asyncdiff_api.job import API_VERSION, KIND
from asyncdiff_api.pod import LABEL_KEY
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.settle import settle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn, SearchStrategy

Document = dict[str, Any]
Path = tuple[str | int, ...]

# Short of the real bounds, so that a document stays small; the bounds themselves are tested one by one.
_MOST_ENTRIES: Final = 3
_CHARACTERS: Final = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
_FREE_FORM: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.sampled_from((0.5, -2.25))
    | st.text("aé0", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def job(changes: Mapping[str, Any] | None = None) -> Document:
    """The plainest job, with values put at dotted paths: ``job({"spec.generate.steps": 20})``; None takes one away."""
    document: Document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "posters"},
        "spec": {
            "model": {"repository": "stabilityai/stable-diffusion-xl-base-1.0"},
            "generate": {"prompts": ["a fox in the snow"]},
            "output": {"s3": {"bucket": "renders", "prefix": "posters/"}},
        },
    }
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        owner = document
        for name in parents:
            owner = owner.setdefault(name, {})
        owner[last] = copy.deepcopy(value)
        if value is None:
            del owner[last]
    return document


def jobs() -> SearchStrategy[Document]:
    """Documents that are valid, defaults mostly left out."""
    spec = values(child(job_shape(), "spec"))
    return spec.map(lambda drawn: {**job(), "spec": settle(copy.deepcopy(drawn))})


@cache
def values(shape: Shape) -> SearchStrategy[Any]:
    """Values that the field allows by itself, whatever the rules between fields say."""
    match shape.kind:
        case Kind.OBJECT:
            return _objects(shape)
        case Kind.LIST:
            return _lists(shape)
        case Kind.MAP:
            return st.dictionaries(_texts(LABEL_KEY), values(_entry(shape)), max_size=_MOST_ENTRIES)
        case Kind.FREE_FORM:
            return st.dictionaries(st.text("abc", min_size=1, max_size=3), _FREE_FORM, max_size=_MOST_ENTRIES)
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.NUMBER:
            return _floats(shape)
        case Kind.INTEGER:
            return _integers(shape)
        case Kind.INTEGER_OR_STRING:
            return _integers(shape) | _strings(shape)
        case _:
            return _strings(shape)


def _entry(shape: Shape) -> Shape:
    assert shape.entry is not None
    return shape.entry


def _objects(shape: Shape) -> SearchStrategy[Document]:
    """All required fields and a few of the others."""
    fields = shape.fields or {}
    drawn = {name: values(field) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    optional = [name for name in fields if name not in required]
    few = st.lists(st.sampled_from(optional), max_size=6, unique=True) if optional else st.just([])

    @st.composite
    def build(draw: DrawFn) -> Document:
        return {name: draw(drawn[name]) for name in (*required, *draw(few))}

    return build()


def _lists(shape: Shape) -> SearchStrategy[list[Any]]:
    size, entries = shape.size, values(_entry(shape))
    if isinstance(size, Items) and size.key:
        key = size.key
        return st.lists(entries, max_size=_MOST_ENTRIES, unique_by=lambda entry: entry[key])
    return st.lists(entries, min_size=getattr(size, "minimum", 0), max_size=_MOST_ENTRIES)


def _integers(shape: Shape) -> SearchStrategy[int]:
    assert shape.numbers is not None
    low, high = int(shape.numbers.minimum), int(shape.numbers.maximum)
    return st.sampled_from((low, high)) | st.integers(low, min(high, low + 32)) | st.integers(low, high)


def _floats(shape: Shape) -> SearchStrategy[float]:
    assert shape.numbers is not None
    low, high = shape.numbers.minimum, shape.numbers.maximum
    return st.sampled_from((low, high, int(high))) | st.floats(low, high, allow_subnormal=False)


def _strings(shape: Shape) -> SearchStrategy[str]:
    if shape.choices:
        return st.sampled_from(shape.choices)
    assert shape.text is not None
    return _texts(shape.text)


@cache
def _texts(text: Text) -> SearchStrategy[str]:
    """Strings of a fixed pool: drawing from the expression each time would take most of the time there is."""
    if not text.pattern:
        return st.text(_CHARACTERS, min_size=text.minimum, max_size=min(text.maximum, 20))
    expression = st.from_regex(text.pattern.replace("$", r"\Z"), fullmatch=True, alphabet=_CHARACTERS)
    return st.sampled_from(_pool(expression.filter(lambda value: text.minimum <= len(value) <= text.maximum)))


def _pool(strategy: SearchStrategy[str]) -> list[str]:
    pool: set[str] = set()

    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: str) -> None:
        pool.add(value)

    collect()
    return sorted(pool)
