"""What a job's parallelism is pinned as in `job.json`, and so in every item's id."""

from __future__ import annotations

from typing import Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.parallelism import (
    AsyncStages,
    GuidanceSplit,
    Lookahead,
    OnCaptureFailure,
    Parallelism,
    Prediction,
    Strategy,
)

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
        case Strategy.ASYNC_STAGES:
            return {"strategy": "AsyncStages", **_stages(parallelism).model_dump(mode="json", by_alias=True)}
    raise InvalidJobError(
        f"spec.parallelism.strategy is {parallelism.strategy}, which this version does not run; choose Auto, "
        "Data, Lookahead or AsyncStages"
    )


def stages_of(parallelism: Parallelism) -> int:
    """Gives the number of stages: the job's, or one for each rank that guidance leaves."""
    chosen = parallelism.async_stages
    if chosen is not None and chosen.stages is not None:
        return chosen.stages
    groups = 2 if parallelism.guidance_split is GuidanceSplit.ALWAYS else 1
    return max(1, parallelism.gpus_per_pod // groups)


def _stages(parallelism: Parallelism) -> AsyncStages:
    """Gives the stages with their number filled in.

    Raises:
        InvalidJobError: They ask for what this version does not do.
    """
    chosen = parallelism.async_stages or AsyncStages()
    later = {
        "asyncStages.prediction": chosen.prediction is not Prediction.HOLD and chosen.prediction,
        "onCaptureFailure": parallelism.on_capture_failure is not OnCaptureFailure.FAIL
        and parallelism.on_capture_failure,
    }
    for name, value in later.items():
        if value:
            raise InvalidJobError(
                f"spec.parallelism.{name} is {value}, which this version does not do with AsyncStages; remove it"
            )
    if stages_of(parallelism) == 1 and chosen.stride > 1 and not chosen.cut:
        raise InvalidJobError(
            "spec.parallelism.asyncStages.stride keeps a deep part of the denoiser where there is 1 stage: name in cut "
            "the module that it begins with and the one behind it"
        )
    return chosen.model_copy(update={"stages": stages_of(parallelism)})
