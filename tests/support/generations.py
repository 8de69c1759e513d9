"""What a rank does in the engine's tests: parallelise a pipeline, call it, and say what came out."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from asyncdiff_runtime.engine import EngineError, Exact, Report, Strategy, parallelize
from asyncdiff_runtime.engine.stages import progress
from asyncdiff_runtime.engine.stages.cell import run_cell

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


def of_layers(_rank: int, _world: int, plan: Plan) -> list[Generated]:
    """Carries out a plan on three layers."""
    pipe = toy.layered()
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


def failing_stage(
    rank: int, _world: int, plan: Plan, culprit: int, cell: int, earlier: int
) -> tuple[str, Array]:
    """A cell of a stage, counted from 1, fails after so many good generations; the next has to be right again."""
    pipe = toy.layered()
    caught, left = "", [cell]

    def failing(*arguments: Any) -> dict[str, torch.Tensor]:
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError("the device is full")
        return run_cell(*arguments)

    with parallelize(pipe, _strategy(plan)):
        for _ in range(earlier):
            pipe(steps=9)
        try:
            with patch.object(progress, "run_cell", failing) if rank == culprit else nullcontext():
                pipe(steps=9, seed=1)
        except (MemoryError, EngineError) as error:
            caught = f"{type(error).__name__}: {error}"
        return caught, pipe(steps=9, seed=2).numpy()


def leaving(rank: int, _world: int, plan: Plan, culprit: int, step: int) -> str:
    """One rank leaves the sampling loop; says what became of this one, which is not patient from then on."""
    pipe = toy.layered()
    with parallelize(pipe, _strategy(plan)) as parallel:

        def on_step(index: int, latents: torch.Tensor) -> torch.Tensor:
            if index == step:
                if rank == culprit:
                    raise KeyboardInterrupt
                parallel._session.executor.mesh.timeout_seconds = 2.0
            return latents

        try:
            pipe(steps=9)
            pipe(steps=9, on_step=on_step)
        except (EngineError, KeyboardInterrupt) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def each_its_own(rank: int, _world: int, plans: Sequence[Plan]) -> str:
    """Every rank follows a plan of its own; says why that was refused."""
    (generated,) = of_layers(rank, len(plans), plans[rank])
    return generated.refusal


def _strategy(plan: Plan) -> Strategy:
    assert plan.strategy is not None
    return plan.strategy
