"""What a rank does in the engine's tests: parallelise a pipeline, call it, and say what came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncdiff_runtime.engine import EngineError, Exact, Report, Strategy, parallelize

from . import toy
from .pipelines import tiny

Array = npt.NDArray[np.float32]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A strategy with the options of `parallelize`, and the calls made under it."""

    strategy: Strategy | None
    calls: tuple[Options, ...] = ({},)
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Generated:
    """A generation's output and figures, or why it was refused."""

    output: Array
    report: Report | None
    refusal: str = ""


def of_tiny(_rank: int, _world: int, name: str, plans: Sequence[Plan]) -> list[list[Generated]]:
    """Carries out each plan on one and the same tiny pipeline, restored in between."""
    row = tiny(name)
    pipe = row.build()

    def generate(call: Options) -> Array:
        output: Array = row.result(pipe, **call).numpy()
        return output

    return [_carried_out(pipe, plan, generate) for plan in plans]


def of_toy(_rank: int, _world: int, rule: str, plan: Plan) -> list[Generated]:
    """Carries out a plan on a toy denoiser."""
    pipe = toy.toy(getattr(toy, rule))
    return _carried_out(pipe, plan, lambda call: pipe(**call).numpy())


def _carried_out(pipe: Any, plan: Plan, generate: Any) -> list[Generated]:
    if plan.strategy is None:
        return [Generated(generate(call), None) for call in plan.calls]
    results = []
    with parallelize(pipe, plan.strategy, **dict(plan.options)) as parallel:
        for call in plan.calls:
            try:
                results.append(Generated(generate(call), parallel.report))
            except EngineError as error:
                results.append(Generated(np.zeros(0, np.float32), None, f"{type(error).__name__}: {error}"))
    return results


def failing(rank: int, _world: int, culprit: int, evaluation: int) -> tuple[str, Array]:
    """Rank `culprit` raises at its given evaluation; a second generation then has to be right."""
    pipe = toy.toy(toy.curved)
    with parallelize(pipe, Exact()):
        rule, caught = pipe.unet.rule, ""

        def broken(*arguments: Any) -> Any:
            if rank == culprit and pipe.unet.asked == evaluation:
                raise MemoryError("the device is full")
            return rule(*arguments)

        pipe.unet.rule = broken
        try:
            pipe()
        except (MemoryError, EngineError) as error:
            caught = f"{type(error).__name__}: {error}"
        pipe.unet.rule = rule
        return caught, pipe(seed=5).numpy()


def asked(_rank: int, _world: int) -> int:
    """How often this rank's denoiser was asked in one generation of ten evaluations."""
    pipe = toy.toy(toy.curved)
    with parallelize(pipe, Exact()):
        pipe(steps=10)
    return int(pipe.unet.asked)


def with_another_seed(rank: int, _world: int, odd: int) -> str:
    """Rank `odd` is given another seed than the others."""
    pipe = toy.toy(toy.curved)
    with parallelize(pipe, Exact()):
        try:
            pipe(seed=1 if rank == odd else 0)
        except EngineError as error:
            return f"{type(error).__name__}: {error}"
    return ""
