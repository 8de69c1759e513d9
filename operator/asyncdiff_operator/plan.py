"""What is to be done for a job now: the whole of the operator's judgement, without one request."""

from __future__ import annotations

from datetime import datetime

from asyncdiff_operator.intent import Plan
from asyncdiff_operator.observed import Observed
from asyncdiff_operator.settings import Defaults


def plan(observed: Observed, defaults: Defaults, now: datetime) -> Plan:  # noqa: ARG001 -- to come
    """Gives what is to be done now for one job.

    Args:
        observed: The job and everything of its own.
        defaults: What the administrator decided for all jobs.
        now: The API server's clock, from the Date of its answers: times in objects are by that clock.
    """
    return Plan()
