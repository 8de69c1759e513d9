"""What a pipeline is called with for a batch of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import WorklistLine
from asyncdiff_api.generate import Generate, Scheduler

from asyncdiff_runtime.batch.inputs.loading import Pictures
from asyncdiff_runtime.batch.signature import PARAMETERS, Signature, check_scheduler

if TYPE_CHECKING:
    from torch import Generator


def arguments_of(
    items: Sequence[WorkItem], pictures: Sequence[Pictures], generate: Generate, signature: Signature
) -> dict[str, Any]:
    """Gives the keyword arguments with which a pipeline makes a batch of items of equal shape.

    Args:
        items: The items; one alone where `signature.together` is false.
        pictures: The inputs of each, of equal sizes.
        generate: What the job says for every item.
        signature: What the pipeline takes.
    """
    first = items[0].line
    arguments: dict[str, Any] = {**generate.options, **(first.options or {}), **signature.scales}
    for name, parameter in PARAMETERS.items():
        value = getattr(first, name)
        value = getattr(generate, name) if value is None else value
        if value is not None and value != "" and parameter in signature.parameters:
            arguments[parameter] = value
    negative = [_negative(item.line, generate) for item in items]
    if any(negative):
        arguments["negative_prompt"] = negative
    if "prompt" in signature.parameters:
        arguments["prompt"] = [item.line.prompt or "" for item in items]
    arguments["generator"] = [noise_of(item.seed) for item in items]
    return {**arguments, **_inputs(pictures, signature, arguments), "output_type": "np"}


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


def _inputs(pictures: Sequence[Pictures], signature: Signature, arguments: dict[str, Any]) -> dict[str, Any]:
    """Gives the arguments that are pictures, in the forms that diffusers takes."""
    given: dict[str, Any] = {}
    for name, parameter in signature.inputs.items():
        if name == "video":
            if pictures[0].video:
                given[parameter] = list(pictures[0].video)
            continue
        stills = [one.stills[name] for one in pictures if name in one.stills]
        if not stills:
            continue
        if name == "control":
            stills = [still.convert(signature.control_mode) for still in stills]
        if parameter == "conditioning_frames":
            frames = arguments.get("num_frames") or signature.frames
            given[parameter] = stills * frames
        elif name == "control" and signature.controls > 1:
            given[parameter] = stills * signature.controls
        elif name == "reference":
            given[parameter] = [[still] for still in stills * signature.references]
        else:
            given[parameter] = stills
    return given
