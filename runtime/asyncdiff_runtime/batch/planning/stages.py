"""What a job's denoiser becomes in stages: where it is cut, what goes between them, and how long that takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.parallelism import AsyncStages

from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.planning.figures import followed
from asyncdiff_runtime.batch.planning.following import Course
from asyncdiff_runtime.engine import AsyncStages as EngineStages
from asyncdiff_runtime.engine import LayoutError, StageWeights
from asyncdiff_runtime.engine.graph.capture import Captured
from asyncdiff_runtime.engine.graph.dependence import Dependence
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.machines import Machine
from asyncdiff_runtime.engine.graph.options import Capture
from asyncdiff_runtime.engine.stages.builders import asyncdiff
from asyncdiff_runtime.engine.stages.choice import chosen
from asyncdiff_runtime.engine.stages.cut import Cut
from asyncdiff_runtime.engine.stages.line import Line, depending_on_the_latent, line
from asyncdiff_runtime.engine.stages.origins import Origins, held, origins, weight_bytes
from asyncdiff_runtime.engine.stages.paths import path_at
from asyncdiff_runtime.engine.stages.schedule import Schedule
from asyncdiff_runtime.engine.stages.seconds import Pace, seconds
from asyncdiff_runtime.engine.stages.segments import Segments, divide, sizes
from asyncdiff_runtime.engine.stages.timing import Flow, Link, SegmentCosts, Timing, timed
from asyncdiff_runtime.engine.stages.workload import workload

LATENCY_SECONDS: Final = 2e-5
"""From the end of a transfer between two GPUs of a host to when it can be read; an assumption."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A job's denoiser in stages on one kind of GPU.

    Attributes:
        pipeline: class of the pipeline.
        dtype: of weights and arithmetic, by torch's name.
        rows: of each call of an evaluation.
        machine: of each stage.
        wanted: what was asked for, the number of stages filled in.
        begins: the module that each segment begins with.
        weights: bytes of those that each stage reads: what a rank holds if they are sharded.
        timing: seconds and bytes of the whole loop.
        opening: the schedule of a loop of few evaluations, to be looked at.
        remarks: what was left out, in sentences.
    """

    pipeline: str
    dtype: str
    rows: tuple[int, ...]
    machine: Machine
    wanted: AsyncStages
    begins: tuple[str, ...]
    weights: tuple[int, ...]
    timing: Timing
    opening: Schedule
    remarks: tuple[str, ...]

    @property
    def circular(self) -> bool:
        """Whether the first and the last segment are one stage."""
        return self.timing.schedule.segments > self.timing.schedule.stages

    @property
    def stage_seconds(self) -> tuple[float, ...]:
        """Work of each stage at an evaluation at which it computes."""
        schedule, costs = self.timing.schedule, self.timing.costs
        sums = [0.0] * schedule.stages
        for segment, spent in enumerate(costs.seconds):
            sums[schedule.stage_of(segment)] += spent
        return tuple(sums)

    @property
    def received(self) -> tuple[int, ...]:
        """Bytes that each stage reads of others at an evaluation at which it computes."""
        schedule, costs = self.timing.schedule, self.timing.costs
        sums = [0] * schedule.stages
        for source in range(schedule.segments):
            for stage in range(schedule.stages):
                own = [s for s in range(source + 1, schedule.segments) if schedule.stage_of(s) == stage]
                if stage != schedule.stage_of(source):
                    sums[stage] += costs.bytes_between(source, own)
        return tuple(sums)


@dataclass(frozen=True, kw_only=True, eq=False)
class Denoiser:
    """A job's denoiser, ready to be cut.

    Attributes:
        pipeline: class of the pipeline.
        dtype: of weights and arithmetic, by torch's name.
        rows: of each call of an evaluation.
        evaluations: of the loop.
        captured: the graph of a call.
        laid: its part that every evaluation runs, as a line.
        origins: which weights the line's values stand on.
        prediction_bytes: of what a call gives.
        remarks: what was left out, in sentences.
    """

    pipeline: str
    dtype: str
    rows: tuple[int, ...]
    evaluations: int
    captured: Captured
    laid: Line
    origins: Origins
    prediction_bytes: int
    remarks: tuple[str, ...]


def denoiser_of(job: AsyncDiffJob, places: Places, *, batch: int) -> Denoiser:
    """Follows the job's pipeline without weights.

    Args:
        job: The job.
        places: Where its parts lie on this machine.
        batch: Items that are made together.

    Raises:
        ModelUnavailableError: A configuration is missing, or names what is not installed.
        InvalidJobError: The pipeline cannot be followed.
        OutageError: The hub or the bucket was not reached.
    """
    bones, course, remarks = followed(job, places, batch=batch)
    asked = course.branches[0]
    hoisted = hoist(asked.captured, Capture().held_bytes)
    return Denoiser(
        pipeline=type(bones.pipe).__name__,
        dtype=str(job.spec.model.dtype),
        rows=tuple(branch.request.rows for branch in course.branches),
        evaluations=course.evaluations,
        captured=asked.captured,
        laid=line(hoisted.latent, depending_on_the_latent(asked.captured)),
        origins=origins(asked.captured, hoisted),
        prediction_bytes=asked.prediction_bytes,
        remarks=(*remarks, *_left_out(course)),
    )


def stage_plan(denoiser: Denoiser, machine: Machine, wanted: AsyncStages) -> StagePlan:
    """Cuts a denoiser as the engine would, and tells what comes of it.

    Args:
        denoiser: What to cut.
        machine: What each stage runs on.
        wanted: How many stages there are, and how they are run.

    Raises:
        InvalidJobError: It cannot be cut as asked, or the machine does not compute in its dtype.
    """
    pace = Pace(machine, getattr(torch, denoiser.dtype))
    try:
        spent = seconds(denoiser.captured, pace)
        cut = _cut(denoiser, spent, wanted, pace)
    except KeyError as error:
        raise InvalidJobError(f"{error.args[0]}; choose another --dtype or --gpu") from error
    except LayoutError as error:
        raise InvalidJobError(str(error)) from error
    schedule = _schedule(wanted, cut, denoiser.evaluations)
    segments = divide(denoiser.laid, cut.boundaries)
    costs = _costs(denoiser, segments, cut, spent).times(len(denoiser.rows))
    return StagePlan(
        pipeline=denoiser.pipeline,
        dtype=denoiser.dtype,
        rows=denoiser.rows,
        machine=machine,
        wanted=wanted,
        begins=_begins(denoiser.laid, cut),
        weights=weight_bytes(denoiser.captured, segments, schedule.stages, denoiser.origins),
        timing=timed(schedule, costs, Link(1 / pace.seconds_per_byte, LATENCY_SECONDS)),
        opening=_schedule(wanted, cut, min(denoiser.evaluations, wanted.warmup_steps + 10)),
        remarks=denoiser.remarks,
    )


def _left_out(course: Course) -> Iterator[str]:
    if len({id(branch.captured) for branch in course.branches}) > 1:
        yield "The calls of an evaluation differ in form; the first stands for all of them."


def _cut(denoiser: Denoiser, spent: Mapping[str, float], wanted: AsyncStages, pace: Pace) -> Cut:
    """The cut that the engine would choose.

    Raises:
        LayoutError: there is none.
    """
    strategy = EngineStages(
        stages=wanted.stages or 1,
        stride=wanted.stride,
        cut=wanted.cut or "auto",
        weights=StageWeights(wanted.weights.lower()),
    )
    load = workload(denoiser.laid, spent)
    if strategy.sharded:
        load = replace(load, weights=held(denoiser.captured, denoiser.laid, denoiser.origins))
    return chosen(denoiser.laid, load, strategy, pace.seconds_per_byte)


def _schedule(wanted: AsyncStages, cut: Cut, evaluations: int) -> Schedule:
    return asyncdiff(
        wanted.stages or 1,
        evaluations,
        stride=wanted.stride,
        warmup=wanted.warmup_steps,
        exact_tail=wanted.exact_tail_steps,
        circular=cut.circular,
    )


def _costs(denoiser: Denoiser, segments: Segments, cut: Cut, spent: Mapping[str, float]) -> SegmentCosts:
    """What the segments of one call cost."""
    laid = denoiser.laid
    inputs = denoiser.captured.inputs
    latents = {name for name, given in inputs.items() if given.dependence is Dependence.LATENT}
    return SegmentCosts(
        seconds=tuple(sizes(laid, cut.boundaries, workload(laid, spent).seconds)),
        flows=_flows(segments),
        prediction_bytes=denoiser.prediction_bytes,
        latent=frozenset(at for at, part in enumerate(segments.parts) if not latents.isdisjoint(part.reads)),
    )


def _flows(segments: Segments) -> tuple[Flow, ...]:
    """The values between segments, those together that the same segments read."""
    readers: dict[tuple[int, str], set[int]] = {}
    size: dict[tuple[int, str], int] = {}
    for edge in segments.edges:
        readers.setdefault((edge.source, edge.value), set()).add(edge.target)
        size[edge.source, edge.value] = edge.bytes
    flows: dict[tuple[int, frozenset[int]], int] = {}
    for (source, value), targets in readers.items():
        key = (source, frozenset(targets))
        flows[key] = flows.get(key, 0) + size[source, value]
    return tuple(Flow(source, targets, count) for (source, targets), count in flows.items())


def _begins(laid: Line, cut: Cut) -> tuple[str, ...]:
    return tuple(path_at(laid, at).removeprefix("denoiser.") for at in (0, *cut.boundaries))
