"""What `plan` wants done: frozen and plain, carried out by `apply` in the order given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import JobStatus

from asyncdiff_operator.observed import Manifest, Question


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Creates an object once; one of that name that is the job's own already is as good."""

    manifest: Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """Changes few fields of a child by a merge patch that carries its uid and resourceVersion."""

    target: Manifest
    """The object as observed."""
    changes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """Deletes an object with its uid and resourceVersion as preconditions; one that is gone is as good."""

    target: Manifest
    """The object as observed."""
    force: bool = False
    """Whether a pod is marked as failed by a disruption and removed without its kubelet's word."""


Operation = Create | Patch | Delete


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A line for `kubectl describe`; the same one is not written again while it stands."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done now for one job, and when to look again.

    With `questions`, nothing else is done: they are answered and the plan is made again.
    """

    questions: frozenset[Question] = frozenset()
    operations: tuple[Operation, ...] = ()
    status: JobStatus | None = None
    """The whole status as it should be; None leaves it as it is."""
    urgent: bool = False
    """Whether somebody waits for what the status says: then its write does not wait for the next one's turn."""
    events: tuple[Event, ...] = ()
    """Written after the status, and not before it."""
    look_again_after_seconds: float | None = None
    """None waits for the next event or the resync."""
    poll: tuple[Manifest, ...] = ()
    """Running pods to be asked for their progress."""
