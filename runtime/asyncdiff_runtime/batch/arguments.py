"""What a pipeline is called with for a batch of items, and what it would not take."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncdiff_api.formats.errors import InvalidJobError, UnknownOptionError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import WorklistLine
from asyncdiff_api.generate import Generate, Scheduler
from asyncdiff_api.wording import nearest
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from torch import Generator

_PARAMETERS: Final = {
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "height": "height",
    "width": "width",
    "frames": "num_frames",
}
"""Parameter of diffusers' calls for each field of `generate` that is passed on."""

_OURS: Final = frozenset(
    {"prompt", "generator", "output_type", "return_dict", "num_images_per_prompt", *_PARAMETERS.values()}
)
"""Parameters that no option may set: fields of the job say them, or the runtime does."""


def call_parameters(kind: Any) -> frozenset[str]:
    """Gives the names of the parameters that a pipeline class's call has."""
    return frozenset(inspect.signature(kind.__call__).parameters) - {"self", "args", "kwargs"}


def check_job(generate: Generate, kind: Any, parameters: frozenset[str]) -> None:
    """Refuses what no item could be made with.

    Raises:
        UnknownOptionError: A field or an option has no parameter in the pipeline's call.
        InvalidJobError: The scheduler is no class of diffusers.
    """
    _check("spec.generate", _given(generate), generate.options, kind, parameters)
    if "prompt" not in parameters:
        raise UnknownOptionError(f"{kind.__name__} takes no prompt, so no job can be made of prompts with it")
    check_scheduler("spec.generate.scheduler", generate.scheduler)


def check_line(place: str, line: WorklistLine, kind: Any, parameters: frozenset[str]) -> None:
    """Refuses what a line asks for and the pipeline does not have; otherwise as `check_job`."""
    if line.model_fields_set <= {"prompt", "seed", "id", "labels"}:
        return
    _check(place, _given(line), line.options or {}, kind, parameters)
    if line.scheduler is not None:
        check_scheduler(f"{place}: scheduler", line.scheduler)


def check_scheduler(place: str, scheduler: Scheduler) -> None:
    """Refuses a scheduler that diffusers does not have.

    Raises:
        InvalidJobError: There is no such class.
    """
    import diffusers

    found = getattr(diffusers, scheduler.class_name, None) if scheduler.class_name else None
    if scheduler.class_name and not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise InvalidJobError(
            f"{place} names {scheduler.class_name}, which is no scheduler of diffusers {diffusers.__version__}; "
            "name one, such as EulerDiscreteScheduler"
        )


def arguments_of(items: Sequence[WorkItem], generate: Generate) -> dict[str, Any]:
    """Gives the keyword arguments with which a pipeline makes a batch of items of equal shape."""
    first = items[0].line
    arguments: dict[str, Any] = {**generate.options, **(first.options or {})}
    for name, parameter in _PARAMETERS.items():
        value = getattr(first, name)
        value = getattr(generate, name) if value is None else value
        if value is not None and value != "":
            arguments[parameter] = value
    negative = [_negative(item.line, generate) for item in items]
    if any(negative):
        arguments["negative_prompt"] = negative
    arguments["prompt"] = [item.line.prompt or "" for item in items]
    arguments["generator"] = [noise_of(item.seed) for item in items]
    return {**arguments, "output_type": "np"}


def noise_of(seed: int) -> Generator:
    """Gives an item's own source of noise, on the CPU: batches, ranks and GPUs never change it."""
    import torch

    return torch.Generator().manual_seed(seed)


def scheduler_of(wanted: Scheduler, own: Any) -> Any:
    """Gives the scheduler that an item asks for: the model's own, changed as the item says.

    Raises:
        InvalidJobError: As `check_scheduler`.
    """
    import diffusers

    check_scheduler("the scheduler", wanted)
    kind = getattr(diffusers, wanted.class_name) if wanted.class_name else type(own)
    return kind.from_config(own.config, **wanted.config)


def _negative(line: WorklistLine, generate: Generate) -> str:
    return generate.negative_prompt if line.negative_prompt is None else line.negative_prompt


def _given(source: Generate | WorklistLine) -> Iterable[str]:
    return [name for name in _PARAMETERS if getattr(source, name) not in (None, "")]


def _check(
    place: str, given: Iterable[str], options: Mapping[str, object], kind: Any, parameters: frozenset[str]
) -> None:
    for name in given:
        if _PARAMETERS[name] not in parameters:
            field = to_camel(name)
            raise UnknownOptionError(
                f"{place}: {field} is set, and {kind.__name__} has no {_PARAMETERS[name]}; remove it"
            )
    for name in options:
        if name in _OURS:
            raise UnknownOptionError(
                f"{place}: options.{name} is set by the job's own fields or by the runtime; remove it there"
            )
        if name not in parameters:
            meant = nearest(name, sorted(parameters - _OURS))
            hint = f"did you mean {meant}?" if meant else f"it takes {', '.join(sorted(parameters - _OURS))}"
            raise UnknownOptionError(f"{place}: options.{name} is no parameter of {kind.__name__}; {hint}")
