"""The children of a job that has none yet."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.status import ConditionType

from asyncdiff_operator.children.config_map import config_map, number_of_shards
from asyncdiff_operator.children.shards_job import shards_job
from asyncdiff_operator.decisions.acceptance import forbidden, missing_worklist, needs_worklist
from asyncdiff_operator.decisions.decision import Decision, ask
from asyncdiff_operator.decisions.obstacles import blocked
from asyncdiff_operator.intent import Create
from asyncdiff_operator.names import shards_name
from asyncdiff_operator.observed import Question
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.conditions import Stands, no, yes


def create(situation: Situation) -> Decision:
    """Creates ConfigMap and Job, in this order, or says what stands in the way."""
    if obstacle := forbidden(situation.job, situation.defaults):
        return blocked(situation, obstacle)
    if needs_worklist(situation.job):
        if situation.unanswered(Question.WORKLIST):
            return ask(Question.WORKLIST)
        if obstacle := missing_worklist(situation):
            return blocked(situation, obstacle)
    shards = number_of_shards(situation.job, situation.observed.config)
    children = (
        Create(
            manifest=config_map(situation.manifest, situation.job, shards, shards_name(situation.manifest))
        ),
        Create(manifest=shards_job(situation.manifest, situation.job, situation.defaults, shards)),
    )
    missing = children if situation.observed.config is None else children[1:]
    return Decision(operations=missing, stands=begun(situation))


def begun(situation: Situation) -> Stands:
    """What is said of a job whose children have just been made."""
    run = situation.job.spec.run
    waiting = Reason.WAITING_FOR_QUEUE if situation.queued else Reason.WAITING_FOR_PODS
    pause = Reason.SUSPENDED_BY_QUEUE if situation.queued else Reason.SUSPENDED_BY_USER
    paused = situation.queued or run.suspend
    return {
        ConditionType.ACCEPTED: yes(Reason.VALID),
        ConditionType.STARTED: no(waiting),
        ConditionType.PROGRESSING: no(pause if paused else waiting),
        ConditionType.SUSPENDED: yes(pause) if paused else no(Reason.NOT_SUSPENDED),
        ConditionType.DEGRADED: no(Reason.HEALTHY),
        ConditionType.RECONCILING: no(Reason.UP_TO_DATE),
        ConditionType.STALLED: no(Reason.UP_TO_DATE),
    }
