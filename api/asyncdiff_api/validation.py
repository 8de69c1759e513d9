"""Whether a document is a job that the API server would take, and in plain words what is wrong if not.

The verdict is the API server's: types are not converted ("4" is no integer), null means "not set", unknown
fields are refused. What an update may change is for the API server alone: a document has no past.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from asyncdiff_api.describe import Kind, Shape, child, job_shape
from asyncdiff_api.fields import Items
from asyncdiff_api.formats import errors
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.rules import rules_of
from asyncdiff_api.wording import expectation, found, nearest, nearest_field, remedy

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        path: Where, from the root: names of fields and positions in lists.
        message: What was found, what was wanted, and what to do.
        suggestion: The name or value that was probably meant, if there is one.
    """

    path: Path
    message: str
    suggestion: str | None = None

    @property
    def dotted(self) -> str:
        """The path as people write it; see `dotted`."""
        return dotted(self.path)

    def __str__(self) -> str:
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{self.dotted or 'document'}: {self.message}{hint}"


def dotted(path: Path) -> str:
    """A path as people write it: ``spec.model.adapters[0].weight``, ``spec.pod.labels[example.com/team]``."""
    return "".join(f".{part}" if isinstance(part, str) and "." not in part else f"[{part}]" for part in path)[
        1:
    ]


class InvalidJobError(errors.InvalidJobError, ValueError):
    """A document that is not a valid job; `problems` says why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(document: object) -> AsyncDiffJob:
    """The job that a document describes, with defaults filled in. Its status is passed over.

    Args:
        document: What YAML or JSON gave: a mapping, if it is a job at all.

    Raises:
        InvalidJobError: The API server would refuse the document.
    """
    result = validate(document)
    if isinstance(result, AsyncDiffJob):
        return result
    raise InvalidJobError(result)


def validate(document: object) -> AsyncDiffJob | tuple[Problem, ...]:
    """The job that a document describes, or else everything that is wrong with it. Its status is passed over.

    Args:
        document: What YAML or JSON gave: a mapping, if it is a job at all.
    """
    if not isinstance(document, Mapping):
        message = f"must be a mapping that begins with apiVersion and kind; found {found(document)}"
        return (Problem((), message),)
    given = _normal({name: value for name, value in document.items() if name != "status"}, job_shape())
    try:
        text = json.dumps(given, default=str, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        return (Problem((), f"holds what JSON cannot say: {error}; write something else"),)
    try:
        job = AsyncDiffJob.model_validate_json(text, by_alias=True, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        return _one_for_each_place((*_anonymity(given), *(_problem(detail, given) for detail in details)))
    problems = (
        *_anonymity(given),
        *_repetitions(given, job_shape(), ()),
        *_broken_rules(job.document(), job_shape(), ()),
    )
    return problems or job


def _anonymity(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What every document of Kubernetes begins with, and this one does not; a job made in Python need not."""
    for name in ("apiVersion", "kind"):
        if name not in document:
            word = child(job_shape(), name).choices[0]
            yield Problem((name,), f"is missing. Begin the document with {name}: {word}")


def _normal(value: Any, shape: Shape) -> Any:
    """The value as the API server takes it: null fields left out, 4.0 the integer 4."""
    if isinstance(value, Mapping) and shape.fields is not None:
        known = shape.fields
        return {
            name: _normal(inner, known[name]) if name in known else inner
            for name, inner in value.items()
            if inner is not None or name not in known
        }
    if isinstance(value, Mapping) and shape.kind is Kind.MAP and shape.entry is not None:
        return {key: _normal(inner, shape.entry) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)) and shape.entry is not None:
        return [_normal(inner, shape.entry) for inner in value]
    if (
        isinstance(value, float)
        and value.is_integer()
        and shape.kind in (Kind.INTEGER, Kind.INTEGER_OR_STRING)
    ):
        return int(value)
    return value


def _problem(detail: ErrorDetails, document: Any) -> Problem:
    """A sentence for one of pydantic's errors, made from what the field wants and what was found."""
    path, shape, value = _place(detail["loc"], document)
    if detail["type"] == "missing":
        return Problem(path, f"is missing. {shape.description}")
    if detail["type"] == "extra_forbidden":
        name, owner = str(detail["loc"][len(path)]), dotted(path) or "a job"
        return Problem((*path, name), f"{owner} has no such field", nearest_field(name, shape))
    choice = nearest(value, shape.choices) if isinstance(value, str) and shape.choices else None
    return Problem(path, f"must be {expectation(shape)}; found {found(value)}{remedy(shape, value)}", choice)


def _place(location: Path, document: Any) -> tuple[Path, Shape, Any]:
    """Where in the job an error lies: the path as far as it names fields, its shape and its value."""
    shape, value = job_shape(), document
    path: Path = ()
    for part in location:
        if shape.fields is not None and part in shape.fields:
            shape = shape.fields[str(part)]
        elif shape.entry is not None and (isinstance(part, int) or shape.kind is Kind.MAP):
            shape = shape.entry
        else:
            break
        value = _item(value, part)
        path = (*path, part)
    return path, shape, value


def _item(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _one_for_each_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The first problem of each path, innermost paths only.

    Pydantic reports each alternative of a type, and counts no entries of a list in which one is wrong.
    """
    by_path: dict[Path, Problem] = {}
    for problem in problems:
        by_path.setdefault(problem.path, problem)
    outer = {path[:length] for path in by_path for length in range(len(path))}
    return tuple(problem for path, problem in by_path.items() if path not in outer)


def _repetitions(value: Any, shape: Shape, path: Path) -> Iterator[Problem]:
    """Entries that cannot be told apart in lists that have a key for it."""
    if isinstance(shape.size, Items) and shape.size.key:
        names = [entry[shape.size.key] for entry in value]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem(path, f"{shape.size.key} {name} occurs {names.count(name)} times: keep one of them")
    for part, inner, inner_shape in _inside(value, shape):
        yield from _repetitions(inner, inner_shape, (*path, part))


def _broken_rules(value: Any, shape: Shape, path: Path) -> Iterator[Problem]:
    """The rules between fields that an object, or one inside it, breaks."""
    for rule in rules_of(shape.model) if shape.model else ():
        message = rule.broken_by(value)
        if message is not None:
            yield Problem((*path, *rule.field.split(".")), message)
    for part, inner, inner_shape in _inside(value, shape):
        yield from _broken_rules(inner, inner_shape, (*path, part))


def _inside(value: Any, shape: Shape) -> Iterator[tuple[str | int, Any, Shape]]:
    """The parts of a value that have a shape of their own."""
    if shape.fields:
        for name, inner in value.items():
            yield name, inner, shape.fields[name]
    elif shape.kind is Kind.LIST and shape.entry is not None and shape.entry.fields:
        for position, inner in enumerate(value):
            yield position, inner, shape.entry
