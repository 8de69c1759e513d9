"""Events: a line for each condition that a person should hear of, for as long as it says so.

Of a start that goes well there is one, the last: that pods run, load and compile is in the status meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import Condition, ConditionStatus, ConditionType

from asyncdiff_operator.intent import Event

_WARNINGS: Final = {ConditionType.FAILED, ConditionType.DEGRADED, ConditionType.STALLED}
_SILENT: Final = {ConditionType.RECONCILING, ConditionType.STARTED}
"""Conditions that say nothing that another does not."""
ON_THE_WAY: Final = frozenset({Reason.PODS_RUNNING, Reason.LOADING, Reason.COMPILING})
"""What pods do before they generate."""


def events(found: tuple[Condition, ...], *, pods_tell: bool) -> tuple[Event, ...]:
    """Gives the events that stand, one a reason: an operator that was killed before it told tells them later.

    Args:
        found: All conditions of a job.
        pods_tell: Whether pods are asked for their progress; else that they run is all that will be known.
    """
    untold = {Reason.ENDED, *(ON_THE_WAY if pods_tell else ())}
    return tuple({event.reason: event for event in _events(found) if event.reason not in untold}.values())


def _events(found: tuple[Condition, ...]) -> Iterator[Event]:
    for condition in found:
        holds = condition.status is ConditionStatus.TRUE
        told = holds or condition.type == ConditionType.ACCEPTED
        if told and condition.type not in _SILENT:
            yield Event(type=_weight(condition), reason=Reason(condition.reason), message=condition.message)


def _weight(condition: Condition) -> Literal["Normal", "Warning"]:
    holds = condition.status is ConditionStatus.TRUE
    alarming = not holds if condition.type == ConditionType.ACCEPTED else condition.type in _WARNINGS
    return "Warning" if alarming else "Normal"
