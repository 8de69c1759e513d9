"""A Job that is gone though the operator had created it: someone's wish, or a controller's; it is not made again."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.decisions.decision import Decision, ask
from asyncdiff_operator.decisions.ending import end_badly
from asyncdiff_operator.names import shards_name
from asyncdiff_operator.observed import Question
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def end_for_loss(situation: Situation) -> Decision:
    """Ends the job, once the API server has said that the Job is really gone."""
    if questions := situation.unanswered(Question.CHILDREN):
        return ask(*questions)
    name = shards_name(situation.manifest)
    return end_badly(situation, Finding(Reason.CHILD_DELETED, f"The Job {name} was deleted by someone else"))
