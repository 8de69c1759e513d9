"""Events: a line for each condition that turned, or that holds for another reason than before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType

from asyncdiff_operator.intent import Event
from asyncdiff_operator.status.memory import Memory

_WARNINGS: Final = {ConditionType.FAILED, ConditionType.DEGRADED, ConditionType.STALLED}
"""Conditions of which a person should hear when they hold."""
_SILENT: Final = {ConditionType.RECONCILING, ConditionType.STARTED}
"""Conditions that say nothing that another does not."""


def events(memory: Memory, found: tuple[Condition, ...]) -> tuple[Event, ...]:
    """Gives the events of a change of conditions, in the order of their types."""
    return tuple(_events(memory, found))


def _events(memory: Memory, found: tuple[Condition, ...]) -> Iterator[Event]:
    told: set[str] = set()
    for condition in found:
        before = memory.condition(ConditionType(condition.type))
        same = before is not None and (before.status, before.reason) == (condition.status, condition.reason)
        if (
            same
            or condition.type in _SILENT
            or condition.reason in told
            or not _worth_telling(condition, before)
        ):
            continue
        told.add(condition.reason)
        yield Event(type=_weight(condition), reason=Reason(condition.reason), message=condition.message)


def _worth_telling(condition: Condition, before: Condition | None) -> bool:
    """A condition that holds; one that ceases to; and a job that is not accepted."""
    if condition.type == ConditionType.ACCEPTED or condition.status is ConditionStatus.TRUE:
        return True
    ceased = before is not None and before.status is ConditionStatus.TRUE
    return ceased and condition.reason != Reason.ENDED


def _weight(condition: Condition) -> Literal["Normal", "Warning"]:
    if condition.type == ConditionType.ACCEPTED:
        return "Normal" if condition.status is ConditionStatus.TRUE else "Warning"
    alarming = condition.type in _WARNINGS and condition.status is ConditionStatus.TRUE
    return "Warning" if alarming else "Normal"
