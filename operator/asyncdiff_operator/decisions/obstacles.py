"""What keeps a decision from being carried out: then nothing is done, and a person is told what to change."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.decisions.acceptance import taken
from asyncdiff_operator.decisions.decision import Decision
from asyncdiff_operator.intent import Create
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stands, no, yes
from asyncdiff_operator.status.findings import Finding


def obstructed(situation: Situation, decision: Decision) -> Decision:
    """Gives the decision, or what is to be said where strangers or the API server stand in its way."""
    obstacle = _obstacle(situation, decision)
    return decision if obstacle is None else blocked(situation, obstacle)


def blocked(situation: Situation, obstacle: Finding) -> Decision:
    """Does nothing but tell, and looks again; a job that is under way keeps the rest of what it says."""
    told = {ConditionType.DEGRADED: yes(obstacle.reason, obstacle.detail)}
    return Decision(
        stands=told if situation.memory.has_children else _unaccepted(obstacle),
        look_again_after_seconds=situation.defaults.look_again_seconds,
    )


def _unaccepted(obstacle: Finding) -> Stands:
    """Only what is missing may come by itself; for the rest a person has to act."""
    comes = obstacle.reason is Reason.CONFIG_MAP_MISSING
    told = yes(obstacle.reason, obstacle.detail)
    return {
        ConditionType.ACCEPTED: no(obstacle.reason, obstacle.detail),
        ConditionType.RECONCILING: told if comes else no(Reason.UP_TO_DATE),
        ConditionType.STALLED: no(Reason.UP_TO_DATE) if comes else told,
    }


def _obstacle(situation: Situation, decision: Decision) -> Finding | None:
    creates = any(isinstance(operation, Create) for operation in decision.operations)
    if creates and (stranger := taken(situation)) is not None:
        return stranger
    if decision.operations and (refusal := situation.observed.refusal):
        return Finding(Reason.REFUSED_BY_KUBERNETES, f"Kubernetes refuses what the job needs: {refusal}")
    return None
