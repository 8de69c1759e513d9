"""What is read back of a job's status: the few things that its children cannot tell again.

Everything else is made anew from what is observed, so a status that was lost or edited mends itself. Read back
are, and by name:

- Complete and Failed: a job that has ended stays as it ended.
- conditions' times, which move with their status only.
- `shards.total`: that children were created, so that a Job which someone deletes is not made again for ever.
- `startTime`: that a pod has run, though it may be gone.
- `accountedShards` with `accountedItems` and `accountedGpuSeconds`: counts of pods that may be gone.
- `items` and `throughput`: counts never go back, and what was measured stands until there is something newer.
- `plan` and `resolved`: decided once for a job; the pods that told may be gone.
- `estimatedCompletionTime`, which is left where it is as long as it is about right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from asyncdiff_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    GpuSeconds,
    ItemCounts,
    JobStatus,
)
from pydantic import ValidationError

from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.reading.indexes import read_runs


@dataclass(frozen=True)
class Memory:
    """The status as it was stored; an empty one where it cannot be read."""

    status: JobStatus

    @property
    def has_ended(self) -> bool:
        """Whether the job is Complete or Failed."""
        return any(self._holds(kind) for kind in (ConditionType.COMPLETE, ConditionType.FAILED))

    @property
    def has_children(self) -> bool:
        """Whether children were created."""
        return self.status.shards is not None and self.status.shards.total is not None

    @property
    def started_at(self) -> datetime | None:
        """When a pod was first seen to run."""
        return self.status.start_time

    @cached_property
    def accounted_shards(self) -> frozenset[int]:
        """Shards whose counts are in `accounted_items`."""
        return read_runs(self.status.accounted_shards)

    @property
    def accounted_items(self) -> ItemCounts:
        """Counts of the accounted shards."""
        return self.status.accounted_items or ItemCounts(total=0, done=0, failed=0, rejected=0)

    @property
    def accounted_gpu_seconds(self) -> GpuSeconds:
        """GPU seconds of the accounted shards."""
        return self.status.accounted_gpu_seconds or GpuSeconds()

    def condition(self, kind: ConditionType) -> Condition | None:
        """Gives a condition."""
        return next((each for each in self.status.conditions if each.type == kind), None)

    def _holds(self, kind: ConditionType) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.status is ConditionStatus.TRUE


def recall(job: Manifest) -> Memory:
    """Reads the status of a job as stored."""
    try:
        # As JSON, in which times and enums are text, which Python's values would have to be already.
        return Memory(JobStatus.model_validate_json(json.dumps(job.get("status") or {})))
    except ValidationError:
        return Memory(JobStatus())
