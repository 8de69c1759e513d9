"""What is to be done for a job now: the whole of the operator's judgement, without one request.

A plan is made anew from what is observed, every time; nothing is remembered but what `status.memory` names. Made
again after it was carried out, a plan does nothing.
"""

from __future__ import annotations

from datetime import datetime

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.status import ConditionType, JobStatus, Phase
from asyncdiff_api.validation import Problem, validate

from asyncdiff_operator.children.config_map import number_of_shards
from asyncdiff_operator.decisions.creation import create
from asyncdiff_operator.decisions.decision import Decision
from asyncdiff_operator.decisions.finishing import finish, result_of_finish
from asyncdiff_operator.decisions.loss import end_for_loss
from asyncdiff_operator.decisions.obstacles import obstructed
from asyncdiff_operator.decisions.ttl import rest
from asyncdiff_operator.decisions.working import work
from asyncdiff_operator.intent import Create, Plan
from asyncdiff_operator.observed import Observed
from asyncdiff_operator.settings import Defaults
from asyncdiff_operator.situation import Situation
from asyncdiff_operator.specs import ReadJob
from asyncdiff_operator.status.compose import compose
from asyncdiff_operator.status.conditions import conditions, no, phase_of, yes
from asyncdiff_operator.status.events import ON_THE_WAY, events
from asyncdiff_operator.status.memory import Memory, recall


def plan(observed: Observed, defaults: Defaults, now: datetime, read: ReadJob = validate) -> Plan:
    """Gives what is to be done now for one job.

    Args:
        observed: The job and everything of its own.
        defaults: What the administrator decided for all jobs.
        now: The API server's clock, from the Date of its answers: times in objects are by that clock.
        read: Reads the job; one that remembers what it has read saves time.
    """
    if "deletionTimestamp" in observed.job["metadata"]:
        return Plan()  # its children go with it, by their owner references
    memory = recall(observed.job)
    if memory.has_ended:
        return rest(observed, now)
    job = read(observed.job)
    if not isinstance(job, AsyncDiffJob):
        return _refuse(observed, memory, job, now)
    situation = Situation(observed=observed, job=job, memory=memory, defaults=defaults, now=now)
    decision = obstructed(situation, decide(situation))
    if decision.questions:
        return Plan(questions=decision.questions)
    return _carry_out(situation, decision)


def decide(situation: Situation) -> Decision:
    """Gives what is to become of a valid job that has not ended."""
    job = situation.shards_job
    if situation.finish_job is not None:
        return finish(situation)
    if job is None:
        return end_for_loss(situation) if situation.memory.has_children else create(situation)
    return finish(situation) if job.ended else work(situation, job)


def _carry_out(situation: Situation, decision: Decision) -> Plan:
    word = result_of_finish(situation)
    status = compose(situation, decision.stands, _shards(situation, decision), word)
    before = situation.memory.status
    return Plan(
        operations=decision.operations,
        status=status if status != before else None,
        urgent=_is_urgent(before, status) and not _is_foreseen(situation, status),
        events=events(status.conditions, pods_tell=situation.defaults.ask_for_progress),
        look_again_after_seconds=decision.look_again_after_seconds,
        poll=decision.poll,
    )


def _shards(situation: Situation, decision: Decision) -> int | None:
    """The number of shards, which also says that children exist or are being made."""
    if situation.shards_job is not None:
        return situation.shards_job.shards
    if situation.memory.has_children and situation.memory.status.shards is not None:
        return situation.memory.status.shards.total
    creating = any(isinstance(each, Create) for each in decision.operations)
    return number_of_shards(situation.job, situation.observed.config) if creating else None


def _is_urgent(before: JobStatus, after: JobStatus) -> bool:
    """Whether a status says more than newer counts, or how far pods have come on their way to the first item.

    The first one of a job that has just been accepted waits too: its pods may be there in a moment.
    """
    if not before.conditions:
        return after.phase in (Phase.PENDING, Phase.COMPLETE, Phase.FAILED)
    return _said(before) != _said(after)


def _is_foreseen(situation: Situation, status: JobStatus) -> bool:
    """Whether pods say what their Job says in a moment, and then with all that they have counted."""
    job = situation.shards_job
    return status.phase is Phase.FINISHING and job is not None and not job.ended


def _said(status: JobStatus) -> tuple[object, ...]:
    """What people wait for."""
    conditions = [
        (each.type, each.status, "" if each.reason in ON_THE_WAY else each.reason)
        for each in status.conditions
    ]
    return status.observed_generation, status.phase, conditions


def _refuse(observed: Observed, memory: Memory, problems: tuple[Problem, ...], now: datetime) -> Plan:
    """A stored object that breaks the rules: nothing is done by it, and nothing that it has is touched."""
    metadata = observed.job["metadata"]
    detail = "; ".join(map(str, problems))
    stands = {ConditionType.STALLED: yes(Reason.INVALID_STORED_OBJECT, detail)}
    if not memory.has_children:
        stands[ConditionType.ACCEPTED] = no(Reason.INVALID_STORED_OBJECT, detail)
    generation = int(metadata.get("generation") or 0)
    found = conditions(stands, memory, generation, now)
    status = memory.status.model_copy(
        update={"observed_generation": generation, "conditions": found, "phase": phase_of(found)}
    )
    changed = status != memory.status
    told = events(found, pods_tell=False)
    return Plan(status=status if changed else None, urgent=changed, events=told)
