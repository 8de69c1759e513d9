"""What the operator knows of a job at one moment: frozen, plain, and the only input of `plan` beside the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from asyncdiff_api.formats.progress import Progress

Manifest = Mapping[str, Any]
"""An object of the API server as JSON; never changed in place."""


class Question(StrEnum):
    """What the cache cannot tell for sure, asked of the API server only when a decision rests on it."""

    CHILDREN = "Children"
    """Are ConfigMap, Jobs and pods of the job really absent? One LIST by label for each kind."""
    POD_EVENTS = "PodEvents"
    """What do the events of pending pods, and of a Job that cannot make pods, say?"""
    WORKLIST = "Worklist"
    """Do the ConfigMap of the worklist and its key exist?"""
    STATUS = "Status"
    """Has the terminal status been stored? One GET of the job itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a pod last said at `/progress`."""

    progress: Progress
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """A job and everything of its own.

    Children are found by the label that carries the job's uid and are the job's own by owner reference.
    """

    job: Manifest
    """The AsyncDiffJob as stored, status included; only the named accumulators of the status are read back."""
    config: Manifest | None = None
    """The ConfigMap that holds the job for the pods."""
    shards_job: Manifest | None = None
    """The Indexed Job of the shards."""
    finish_job: Manifest | None = None
    """The Job of the finish step."""
    pods: tuple[Manifest, ...] = ()
    """Pods of both Jobs, in order of their names."""
    strangers: tuple[Manifest, ...] = ()
    """Objects that have a name of a child and are not marked as the job's, by owner reference and by label."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    """The last report of each running pod that answered, by the pod's uid."""
    reachable: bool | None = None
    """Whether any running pod has answered lately; None if pods are not asked."""
    refusal: str = ""
    """What the API server said when it refused an operation of an earlier plan of this very round for good (invalid,
    forbidden, over quota; no conflict, no outage), for the plan to tell; empty if nothing was refused."""
    answers: Mapping[Question, Any] = field(default_factory=dict)
    """Answers to the questions of an earlier plan of this very round: CHILDREN → True once looked up afresh (the
    other fields then hold what was found); POD_EVENTS → sentences, newest last, by the object's uid; WORKLIST →
    None, or a sentence that says what is missing; STATUS → the job as stored, or None if it is gone."""
