"""The last word on a job: Complete or Failed, and what the other conditions say from then on."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.decisions.decision import Decision
from asyncdiff_operator.intent import Operation
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stand, Stands, no, yes
from asyncdiff_operator.status.findings import Finding


def end_well(situation: Situation, finding: Finding) -> Decision:
    """Ends a job as Complete."""
    complete = {ConditionType.COMPLETE: yes(finding.reason, finding.detail)}
    return Decision(stands={**_ended(situation), **complete, ConditionType.STALLED: no(Reason.UP_TO_DATE)})


def end_badly(situation: Situation, finding: Finding, operations: tuple[Operation, ...] = ()) -> Decision:
    """Ends a job as Failed; Stalled says so to tools that know nothing of this kind of resource."""
    failed = {ConditionType.FAILED: yes(finding.reason, finding.detail)}
    return Decision(
        operations=operations,
        stands={
            **_ended(situation),
            **failed,
            ConditionType.STALLED: yes(Reason.ENDED, "The job has failed"),
        },
    )


def _ended(situation: Situation) -> Stands:
    started: Stand = yes(Reason.ENDED) if situation.has_started else no(Reason.ENDED)
    return {
        ConditionType.ACCEPTED: yes(Reason.VALID),
        ConditionType.STARTED: started,
        ConditionType.PROGRESSING: no(Reason.ENDED),
        ConditionType.SUSPENDED: no(Reason.NOT_SUSPENDED),
        ConditionType.DEGRADED: no(Reason.ENDED),
        ConditionType.RECONCILING: no(Reason.ENDED),
    }
