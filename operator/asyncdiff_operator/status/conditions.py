"""Conditions from findings: times move with a condition's status, and nothing changes where nothing has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType, Phase

from asyncdiff_operator.reading.times import whole_seconds
from asyncdiff_operator.status.findings import Finding
from asyncdiff_operator.status.memory import Memory


@dataclass(frozen=True, slots=True)
class Stand:
    """Whether a condition holds, and why."""

    status: ConditionStatus
    finding: Finding


Stands = Mapping[ConditionType, Stand]


def yes(reason: Reason, detail: str = "") -> Stand:
    """A condition that holds."""
    return Stand(ConditionStatus.TRUE, Finding(reason, detail))


def no(reason: Reason, detail: str = "") -> Stand:
    """A condition that does not hold."""
    return Stand(ConditionStatus.FALSE, Finding(reason, detail))


def unknown(reason: Reason, detail: str = "") -> Stand:
    """A condition of which nobody can tell."""
    return Stand(ConditionStatus.UNKNOWN, Finding(reason, detail))


def conditions(stands: Stands, memory: Memory, generation: int, now: datetime) -> tuple[Condition, ...]:
    """Gives the conditions in the order of their types; a type that is not named keeps what it had."""
    made = (
        _condition(kind, stands[kind], memory, generation, now) if kind in stands else memory.condition(kind)
        for kind in ConditionType
    )
    return tuple(condition for condition in made if condition is not None)


def _condition(
    kind: ConditionType, stand: Stand, memory: Memory, generation: int, now: datetime
) -> Condition:
    before = memory.condition(kind)
    same = before is not None and before.status is stand.status
    return Condition(
        type=kind,
        status=stand.status,
        reason=stand.finding.reason,
        message=stand.finding.message,
        last_transition_time=before.last_transition_time
        if same and before is not None
        else whole_seconds(now),
        observed_generation=generation,
    )


def phase_of(found: tuple[Condition, ...]) -> Phase:
    """Gives the one word that people read, from the conditions alone."""
    holding = {condition.type: condition for condition in found if condition.status is ConditionStatus.TRUE}
    progressing = holding.get(ConditionType.PROGRESSING)
    if ConditionType.COMPLETE in holding:
        return Phase.COMPLETE
    if ConditionType.FAILED in holding:
        return Phase.FAILED
    if ConditionType.SUSPENDED in holding:
        return Phase.SUSPENDED
    if progressing is not None and progressing.reason == Reason.FINISHING:
        return Phase.FINISHING
    if ConditionType.STARTED in holding:
        return Phase.RUNNING
    return Phase.STARTING if ConditionType.ACCEPTED in holding else Phase.PENDING
