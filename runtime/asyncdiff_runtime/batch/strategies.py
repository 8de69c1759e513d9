"""What a job's ranks that make one sample together ask of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.parallelism import (
    AsyncStages,
    Compile,
    Device,
    GuidanceSplit,
    Lookahead,
    Parallelism,
    Strategy,
)
from asyncdiff_api.parallelism import StageWeights as Weights

from asyncdiff_runtime.batch.evaluation import Evaluation, evaluation_of
from asyncdiff_runtime.batch.models import Plan
from asyncdiff_runtime.batch.schedule import stages_of
from asyncdiff_runtime.engine import AsyncStages as EngineStages
from asyncdiff_runtime.engine import LayoutError, Lowering, StageWeights
from asyncdiff_runtime.engine import Lookahead as EngineLookahead
from asyncdiff_runtime.engine.denoisers import DENOISER_NAMES
from asyncdiff_runtime.engine.stages.choice import UNEVEN

_STAGED = {
    Compile.AUTO: Lowering.INDUCTOR,
    Compile.CAPTURED: Lowering.INDUCTOR,
    Compile.MAX_AUTOTUNE: Lowering.MAX_AUTOTUNE,
    Compile.NEVER: Lowering.EAGER,
}


def arguments_of_engine(parallelism: Parallelism, cache: Path) -> dict[str, Any]:
    """Gives what to call `parallelize` with, but for the pipeline.

    Args:
        parallelism: What the job asks for; one whose ranks make a sample together.
        cache: Folder of compiled parts; what is in it is run.

    Raises:
        InvalidJobError: The engine has no such stages.
    """
    staged = parallelism.strategy is Strategy.ASYNC_STAGES
    how = staged_evaluation(parallelism) if staged else evaluation_of(parallelism, together=True)
    split = {GuidanceSplit.AUTO: "auto", GuidanceSplit.ALWAYS: True, GuidanceSplit.NEVER: False}
    return {
        "strategy": engine_stages(parallelism)
        if staged
        else _lookahead(parallelism.lookahead or Lookahead()),
        "guidance_split": split[parallelism.guidance_split],
        **how.arguments(cache),
    }


def staged_evaluation(parallelism: Parallelism) -> Evaluation:
    """Decides how ranks run their stages, which are parts of the captured graph whatever `compile` says."""
    if parallelism.device is Device.CPU and parallelism.compile is not Compile.CAPTURED:
        return Evaluation(capture=Lowering.EAGER)
    return Evaluation(capture=_STAGED[parallelism.compile])


def engine_stages(parallelism: Parallelism) -> EngineStages:
    """Gives the engine's stages for a job's.

    Raises:
        InvalidJobError: The engine has no such stages.
    """
    chosen = parallelism.async_stages or AsyncStages()
    try:
        return EngineStages(
            stages=stages_of(parallelism),
            stride=chosen.stride,
            warmup=chosen.warmup_steps,
            exact_tail=chosen.exact_tail_steps,
            cut=chosen.cut or "auto",
            weights=StageWeights(chosen.weights.lower()),
            time_shift=chosen.time_shift,
        )
    except LayoutError as error:
        raise InvalidJobError(f"spec.parallelism.asyncStages: {error}") from error


def shares_of_parts(parallelism: Parallelism, plan: Plan) -> dict[str, float]:
    """Gives how much of a model's parts each rank is to load, by name; of others, each loads all.

    Adapters and quantization change weights that have to be there: denoisers with them are loaded whole, and ranks let
    go of what they do not need.
    """
    stages = parallelism.async_stages or AsyncStages()
    divided = parallelism.strategy is Strategy.ASYNC_STAGES and stages.weights is Weights.SHARDED
    if not divided or plan.adapters or plan.model.quantization is not None:
        return {}
    share = min(1.0, 1 / stages_of(parallelism) + UNEVEN)
    return {name: share for name in DENOISER_NAMES if name in plan.index.components}


def _lookahead(chosen: Lookahead) -> EngineLookahead:
    return EngineLookahead(
        degree=chosen.degree,
        tolerance=chosen.tolerance,
        warmup=chosen.warmup_steps,
        exact_tail=chosen.exact_tail_steps,
    )
