"""Jobs as the API server has them, read: each generation of a job once, however often the job is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import Problem, validate

from asyncdiff_operator.observed import Manifest

ReadJob = Callable[[Manifest], AsyncDiffJob | tuple[Problem, ...]]
"""Gives a job as `validate` does; its metadata may be older than the document's, of the same generation."""

MOST: Final = 1000
"""Jobs that are kept; of more, those that were looked at last."""


class Specs:
    """Remembers what was read: the API server numbers each change of a spec as a generation of its own."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._read: dict[tuple[str, int], AsyncDiffJob | tuple[Problem, ...]] = {}

    def read(self, job: Manifest) -> AsyncDiffJob | tuple[Problem, ...]:
        """Gives the job, or else everything that is wrong with it."""
        generation = (job["metadata"]["uid"], int(job["metadata"].get("generation") or 0))
        found = self._read.pop(generation, None)
        self._read[generation] = validate(job) if found is None else found
        if len(self._read) > self._most:
            del self._read[next(iter(self._read))]
        return self._read[generation]
