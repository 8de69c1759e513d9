"""What a decision comes to: what to do, what to say, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncdiff_operator.intent import Operation
from asyncdiff_operator.observed import Manifest, Question
from asyncdiff_operator.status.conditions import Stands


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to become of a job now."""

    questions: frozenset[Question] = frozenset()
    """Asked before anything else is done."""
    operations: tuple[Operation, ...] = ()
    stands: Stands = field(default_factory=dict)
    """What the conditions should say; those left out keep what they say."""
    look_again_after_seconds: float | None = None
    poll: tuple[Manifest, ...] = ()


def ask(*questions: Question) -> Decision:
    """Decides nothing before the questions are answered."""
    return Decision(questions=frozenset(questions))


def earliest(*seconds: float | None) -> float | None:
    """Gives the shortest of several waits, at least a second; None if there is nothing to wait for."""
    return min((max(wait, 1.0) for wait in seconds if wait is not None), default=None)
