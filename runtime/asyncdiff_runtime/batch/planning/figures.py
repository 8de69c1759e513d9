"""What a batch of a job's items costs and takes, on any GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.generate import Generate
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.model import AdapterKind

from asyncdiff_runtime.batch.arguments import arguments_of, scheduler_of
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.inputs.loading import Pictures
from asyncdiff_runtime.batch.models import open_parts
from asyncdiff_runtime.batch.planning.following import Branch as Asked
from asyncdiff_runtime.batch.planning.following import Course, follow
from asyncdiff_runtime.batch.planning.skeleton import Skeleton, skeleton
from asyncdiff_runtime.batch.signature import Signature, check_job, signature_of
from asyncdiff_runtime.engine import Capture
from asyncdiff_runtime.engine.evaluations import evaluations
from asyncdiff_runtime.engine.graph.cost import FREE, Cost, by_dependence, by_module, costs
from asyncdiff_runtime.engine.graph.dependence import Dependence, dependences
from asyncdiff_runtime.engine.graph.hoisting import hoist
from asyncdiff_runtime.engine.graph.hoisting_report import ClassFigures
from asyncdiff_runtime.engine.graph.kernels import kernels, peak_bytes

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import Node

    from asyncdiff_runtime.engine.graph.capture import Captured

_PROMPT: Final = "a fox in the snow"
"""Stands for prompts that a worklist holds: text is padded, so that its length is no matter to most models."""
HELD_BYTES: Final = Capture().held_bytes
"""Most memory of each graph for what it keeps."""
_HELD: Final = (Dependence.WEIGHTS, Dependence.GENERATION)
"""What a graph keeps on a GPU from one evaluation to the next."""
_PICTURE: Final = (512, 512)
"""Pixels of an input where the job names no size."""


@dataclass(frozen=True)
class Branch:
    """A call of the denoiser.

    Attributes:
        rows: of its batch.
        kernels: what it costs once compiled, kernel by kernel.
        once: the kernels of `kernels` that a captured graph runs once a picture, what depends on its prompt and size.
        left: those that it runs at each evaluation.
        operations: what it costs otherwise, operation by operation.
        peak_bytes: most bytes of values that are alive at once.
        prediction_bytes: bytes of what it gives.
        hoisted: what of its graph can leave the loop, by what it depends on.
    """

    rows: int
    kernels: tuple[Cost, ...]
    once: tuple[Cost, ...]
    left: tuple[Cost, ...]
    operations: tuple[Cost, ...]
    peak_bytes: int
    prediction_bytes: int
    hoisted: Mapping[Dependence, ClassFigures]


@dataclass(frozen=True)
class Aside:
    """What runs before the loop, or after it, each operation by itself.

    Attributes:
        operations: their costs.
        peak_bytes: most bytes that are alive at once, weights left out.
    """

    operations: tuple[Cost, ...] = ()
    peak_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a batch costs and takes.

    Attributes:
        pipeline: class of the pipeline.
        dtype: of weights and arithmetic, by torch's name.
        batch: items that are made together.
        evaluations: of the loop.
        foreseeable: inputs of later evaluations can be foretold.
        branches: calls of one evaluation.
        by_dependence: cost of one evaluation by what it depends on.
        operations: number of operations of one evaluation, by the same.
        held_bytes: memory that a captured graph takes for what it keeps, by the same.
        by_module: cost of one evaluation by module, in their order.
        weights: bytes of each part's weights.
        parameters: number of each part's weights.
        before: text encoding and the like.
        after: decoding.
        remarks: what was left out, in sentences.
    """

    pipeline: str
    dtype: str
    batch: int
    evaluations: int
    foreseeable: bool
    branches: tuple[Branch, ...]
    by_dependence: Mapping[Dependence, Cost]
    operations: Mapping[Dependence, int]
    held_bytes: Mapping[Dependence, int]
    by_module: Mapping[str, Cost]
    weights: Mapping[str, int]
    parameters: Mapping[str, int]
    before: Aside
    after: Aside
    remarks: tuple[str, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each call of an evaluation."""
        return tuple(branch.rows for branch in self.branches)


def figures_of(job: AsyncDiffJob, places: Places, *, batch: int, depth: int) -> Figures:
    """Builds the job's pipeline without weights, follows its call, and adds up what it does.

    Args:
        job: The job.
        places: Where its parts lie on this machine.
        batch: Items that are made together.
        depth: Names of a module's path by which costs are told apart.

    Raises:
        ModelUnavailableError: A configuration is missing, or names what is not installed.
        InvalidJobError: The pipeline cannot be made as the job asks, or not be followed without weights.
        OutageError: The hub or the bucket was not reached.
    """
    bones, course, remarks = followed(job, places, batch=batch)
    return _figures(bones, course, job, batch, depth, remarks)


def followed(job: AsyncDiffJob, places: Places, *, batch: int) -> tuple[Skeleton, Course, tuple[str, ...]]:
    """Builds the job's pipeline without weights and follows its call.

    Args:
        job: The job.
        places: Where its parts lie on this machine.
        batch: Items that are made together.

    Returns:
        The pipeline, what it asks of its modules, and what of the job was left out, in sentences.

    Raises:
        ModelUnavailableError: A configuration is missing, or names what is not installed.
        InvalidJobError: The pipeline cannot be made as the job asks, or not be followed without weights.
        OutageError: The hub or the bucket was not reached.
    """
    remarks = tuple(_left_out(job))
    bones = skeleton(job.spec.model, open_parts(job, places, None))
    signature = signature_of(type(bones.pipe), bones.adapters)
    generate = _without_references(job.spec.generate)
    check_job(generate, job.spec.output.format, signature)
    wanted = generate.scheduler
    if wanted.class_name or wanted.config:
        bones.pipe.scheduler = scheduler_of(wanted, bones.pipe.scheduler)
    course = follow(bones, _arguments(generate, signature, batch))
    if bones.stand_ins:
        names = " and ".join(bones.stand_ins)
        remarks += (f"{names}: no vocabulary is there; every prompt is taken to be as long as it may be.",)
    return bones, course, remarks


def _left_out(job: AsyncDiffJob) -> Iterator[str]:
    """Says what of a job the figures leave out."""
    model = job.spec.model
    kinds = {adapter.kind for adapter in model.adapters}
    if AdapterKind.LORA in kinds:
        yield (
            "LoRA adapters are left out: fused into the weights they cost nothing."
            if model.quantization is None
            else "LoRA adapters are left out; beside quantized weights they cost a little at each evaluation."
        )
    if AdapterKind.IP_ADAPTER in kinds:
        yield (
            "IP adapters are left out, which only their weights describe: a picture is encoded before the loop, and "
            "attention reads a little more at each evaluation."
        )
    if model.quantization is not None:
        yield f"Quantization is left out: weights and arithmetic are counted in {model.dtype}."
    if model.vae:
        yield "The model's own VAE is counted, not spec.model.vae."


def _without_references(generate: Generate) -> Generate:
    """Takes away what only IP adapters read, which are left out."""
    return generate.model_copy(update={"inputs": generate.inputs.model_copy(update={"reference": None})})


def _arguments(generate: Generate, signature: Signature, batch: int) -> dict[str, Any]:
    from PIL import Image

    prompt = generate.prompts[0] if generate.prompts else _PROMPT
    size = (generate.width or _PICTURE[0], generate.height or _PICTURE[1])
    picture = Image.new("RGB", size)
    needed = signature.needed | (generate.inputs.model_fields_set & signature.inputs.keys())
    pictures = Pictures(
        stills={name: picture for name in needed if name != "video"},
        video=(picture,) * (generate.frames or 16) if "video" in needed else (),
    )
    line = WorklistLine(prompt=prompt if "prompt" in signature.parameters else None)
    items = [WorkItem("", Position(0, number), line, number, {}) for number in range(1, batch + 1)]
    return arguments_of(items, [pictures] * batch, generate, signature)


def _figures(
    bones: Skeleton, course: Course, job: AsyncDiffJob, batch: int, depth: int, remarks: tuple[str, ...]
) -> Figures:
    known: dict[int, Branch] = {}
    classes: dict[Dependence, Cost] = {}
    modules: dict[str, Cost] = {}
    for asked in course.branches:
        captured = asked.captured
        found = costs(captured)
        if id(captured) not in known:
            known[id(captured)] = _branch(asked, found)
        _add(classes, by_dependence(found, dependences(captured)))
        _add(modules, by_module(found, depth + 1))  # the first name is the joint module's
    branches = tuple(known[id(asked.captured)] for asked in course.branches)
    return Figures(
        pipeline=type(bones.pipe).__name__,
        dtype=str(job.spec.model.dtype),
        batch=batch,
        evaluations=course.evaluations,
        foreseeable=_foreseeable(bones.pipe.scheduler),
        branches=branches,
        by_dependence=dict(sorted(classes.items())),
        operations={kind: sum(branch.hoisted[kind].operations for branch in branches) for kind in Dependence},
        held_bytes={kind: sum(branch.hoisted[kind].held_bytes for branch in branches) for kind in _HELD},
        by_module={_short(name): cost for name, cost in modules.items()},
        weights={name: _weights(module)[1] for name, module in bones.modules.items()},
        parameters={name: _weights(module)[0] for name, module in bones.modules.items()},
        before=_aside(course.before),
        after=_aside(course.after),
        remarks=remarks,
    )


def _branch(asked: Asked, found: Mapping[Node, Cost]) -> Branch:
    captured = asked.captured
    hoisted = hoist(captured, HELD_BYTES)
    # On a GPU, what follows from the timestep is made with what follows from the latent.
    parts = (hoisted.latent, hoisted.evaluation)
    left = {node.name for part in parts for node in part.module.graph.nodes if node.op != "placeholder"}
    return Branch(
        rows=asked.request.rows,
        kernels=_kernels(captured, found),
        once=_kernels(captured, {node: FREE if node.name in left else cost for node, cost in found.items()}),
        left=_kernels(captured, {node: cost if node.name in left else FREE for node, cost in found.items()}),
        operations=tuple(cost for cost in found.values() if cost != FREE),
        peak_bytes=peak_bytes(captured),
        prediction_bytes=asked.prediction_bytes,
        hoisted=hoisted.report.classes,
    )


def _kernels(captured: Captured, found: Mapping[Node, Cost]) -> tuple[Cost, ...]:
    return tuple(kernel.cost for kernel in kernels(captured, found))


def _add(sums: dict[Any, Cost], more: Mapping[Any, Cost]) -> None:
    for key, cost in more.items():
        sums[key] = sums.get(key, FREE) + cost


def _short(path: str) -> str:
    return path.removeprefix("denoiser.") or "(outside of modules)"


def _weights(module: nn.Module) -> tuple[int, int]:
    """Number and bytes of a module's weights; one that is used twice is counted once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(t.numel() for t in module.parameters()), sum(t.numel() * t.element_size() for t in tensors)


def _aside(tallies: Mapping[str, Any]) -> Aside:
    operations = tuple(cost for tally in tallies.values() for cost in tally.costs)
    return Aside(operations, max((tally.peak_bytes for tally in tallies.values()), default=0))


def _foreseeable(scheduler: Any) -> bool:
    """Whether lookahead's predictions can be accepted with a scheduler that was set."""
    from asyncdiff_runtime.engine import Refused

    try:
        return not evaluations(scheduler).stochastic
    except Refused:
        return False
