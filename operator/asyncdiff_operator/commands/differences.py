"""In which fields two specs differ, and which of these may change while a job exists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asyncdiff_api.describe import Shape, child, job_shape
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.transitions import is_always_present


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which a stored job is not as a file asks for.

    Attributes:
        field: Its path, such as ``parallelism.pods``.
        stored: Its value in the cluster; None where it is not set.
        asked: Its value in the file, as `stored`.
        mutable: Whether it may change while the job exists.
    """

    field: str
    stored: object
    asked: object
    mutable: bool

    def __str__(self) -> str:
        return f"{self.field} is {_told(self.stored)} there and {_told(self.asked)} in the file"


def differences(stored: AsyncDiffJob, asked: AsyncDiffJob) -> tuple[Difference, ...]:
    """Gives the fields of the spec in which two jobs differ, those that are not set counted as their defaults."""
    spec = child(job_shape(), "spec")
    return tuple(_differences(spec, stored.document()["spec"], asked.document()["spec"]))


def _differences(section: Shape, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Difference]:
    for name, shape in (section.fields or {}).items():
        one, other = stored.get(name), asked.get(name)
        if shape.fields and is_always_present(shape):
            yield from _differences(shape, one or {}, other or {})
        elif one != other:
            yield Difference(shape.dotted.removeprefix("spec."), one, other, shape.mutable)


def _told(value: object) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
