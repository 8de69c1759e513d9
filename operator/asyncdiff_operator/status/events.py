"""Events: a line for each condition that a person should hear of, for as long as it says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType

from asyncdiff_operator.intent import Event

_WARNINGS: Final = {ConditionType.FAILED, ConditionType.DEGRADED, ConditionType.STALLED}
_SILENT: Final = {ConditionType.RECONCILING, ConditionType.STARTED}
"""Conditions that say nothing that another does not."""


def events(found: tuple[Condition, ...]) -> tuple[Event, ...]:
    """Gives the events that stand, one a reason: an operator that was killed before it told tells them later."""
    return tuple({event.reason: event for event in _events(found)}.values())


def _events(found: tuple[Condition, ...]) -> Iterator[Event]:
    for condition in found:
        holds = condition.status is ConditionStatus.TRUE
        told = holds or condition.type == ConditionType.ACCEPTED
        if told and condition.type not in _SILENT and condition.reason != Reason.ENDED:
            yield Event(type=_weight(condition), reason=Reason(condition.reason), message=condition.message)


def _weight(condition: Condition) -> Literal["Normal", "Warning"]:
    holds = condition.status is ConditionStatus.TRUE
    alarming = not holds if condition.type == ConditionType.ACCEPTED else condition.type in _WARNINGS
    return "Warning" if alarming else "Normal"
