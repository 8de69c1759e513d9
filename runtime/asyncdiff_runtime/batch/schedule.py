"""What a job's parallelism is pinned as in `job.json`, and so in every item's id."""

from __future__ import annotations

from typing import Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.parallelism import Lookahead, Parallelism, Strategy

DATA: Final[JsonMap] = {"strategy": "Data"}


def schedule_of(parallelism: Parallelism) -> JsonMap:
    """Decides the schedule: Auto is Data, which gives the sequential picture and keeps every rank at work.

    Raises:
        InvalidJobError: The strategy is not one that this version runs.
    """
    match parallelism.strategy:
        case Strategy.AUTO | Strategy.DATA:
            return dict(DATA)
        case Strategy.LOOKAHEAD:
            chosen = parallelism.lookahead or Lookahead()
            return {"strategy": "Lookahead", **chosen.model_dump(mode="json", by_alias=True)}
    raise InvalidJobError(
        f"spec.parallelism.strategy is {parallelism.strategy}, which this version does not run; choose Auto, "
        "Data or Lookahead"
    )
