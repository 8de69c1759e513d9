"""A Job that is gone though the operator had created it: someone's wish, or a controller's; it is not made again.

One that has only lost what marks it as the job's own is still at work, and so is the job.
"""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.decisions.acceptance import taken
from asyncdiff_operator.decisions.decision import Decision, ask
from asyncdiff_operator.decisions.ending import end_badly
from asyncdiff_operator.decisions.obstacles import blocked
from asyncdiff_operator.names import shards_name
from asyncdiff_operator.observed import Question
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def end_for_loss(situation: Situation) -> Decision:
    """Ends the job, once the API server has said that the Job is really gone."""
    if questions := situation.unanswered(Question.CHILDREN):
        return ask(*questions)
    name = shards_name(situation.manifest)
    stand_ins = [each for each in situation.observed.strangers if each["metadata"]["name"] == name]
    if any(each["kind"] == "Job" for each in stand_ins) and (obstacle := taken(situation)) is not None:
        return blocked(situation, obstacle)
    return end_badly(situation, Finding(Reason.CHILD_DELETED, f"The Job {name} was deleted by someone else"))
