"""A child Job as the operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from asyncdiff_operator.names import QUEUE_LABEL, RESUMES_ANNOTATION
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.indexes import read_indexes
from asyncdiff_operator.reading.numbers import read_number
from asyncdiff_operator.reading.times import read_time


@dataclass(frozen=True)
class ChildJob:
    """A batch/v1 Job of ours."""

    manifest: Manifest

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def going(self) -> bool:
        """Whether someone has deleted it."""
        return "deletionTimestamp" in self.manifest["metadata"]

    @property
    def spec(self) -> Manifest:
        """What was asked of it."""
        spec: Manifest = self.manifest["spec"]
        return spec

    @property
    def suspended(self) -> bool:
        """Whether it is told to keep no pods."""
        return bool(self.spec.get("suspend"))

    @property
    def queued(self) -> bool:
        """Whether a queue decides when it runs; Kueue may have given it one by itself."""
        return QUEUE_LABEL in (self.manifest["metadata"].get("labels") or {})

    @property
    def resumes(self) -> int:
        """How often the operator has resumed it since a person last suspended it."""
        return read_number(self.annotation(RESUMES_ANNOTATION)) or 0

    @property
    def shards(self) -> int:
        """Its number of indices."""
        return int(self.spec.get("completions") or 1)

    @property
    def retries(self) -> int | None:
        """How many retries each shard has; None where all have them together."""
        limit = self.spec.get("backoffLimitPerIndex")
        return None if limit is None else int(limit)

    @property
    def image(self) -> str:
        """The image that its pods run."""
        return str(self.spec["template"]["spec"]["containers"][0]["image"])

    @property
    def started_at(self) -> datetime | None:
        """Since when it may have pods; a resumed Job begins anew, a suspended one has none."""
        return read_time(self._status.get("startTime"))

    @property
    def active(self) -> int:
        """Pods that are pending or running."""
        return int(self._status.get("active") or 0)

    @cached_property
    def completed(self) -> frozenset[int]:
        """Shards that are done."""
        return read_indexes(self._status.get("completedIndexes"))

    @cached_property
    def failed(self) -> frozenset[int]:
        """Shards that were given up."""
        return read_indexes(self._status.get("failedIndexes"))

    @property
    def has_worked(self) -> bool:
        """Whether a pod of it has succeeded; one that failed may never have started."""
        return any(self._status.get(name) for name in ("succeeded", "completedIndexes"))

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self._condition("Complete") is not None

    @property
    def failure(self) -> Manifest | None:
        """The condition with which it has ended badly, once all its pods are gone."""
        return self._condition("Failed")

    @property
    def ending(self) -> bool:
        """Whether its end is decided and its pods are asked to go."""
        return self._condition("FailureTarget") is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.succeeded or self.failure is not None

    def annotation(self, name: str) -> str:
        """Gives an annotation; empty if there is none."""
        return str((self.manifest["metadata"].get("annotations") or {}).get(name, ""))

    @property
    def _status(self) -> dict[str, Any]:
        return dict(self.manifest.get("status") or {})

    def _condition(self, kind: str) -> Manifest | None:
        for condition in self._status.get("conditions") or ():
            if condition["type"] == kind and condition["status"] == "True":
                found: Manifest = condition
                return found
        return None
