"""What a pipeline takes, and what it would not take: known from its class, before any weights are read."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncdiff_api.formats.errors import InvalidJobError, UnknownOptionError
from asyncdiff_api.formats.worklist import WorklistLine, inputs_of
from asyncdiff_api.generate import Generate, Scheduler
from asyncdiff_api.model import AdapterKind
from asyncdiff_api.output import Format
from asyncdiff_api.wording import nearest
from pydantic.alias_generators import to_camel

from asyncdiff_runtime.batch.models.adapters import SCALES, PlannedAdapter, scales_of

PARAMETERS: Final = {
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "height": "height",
    "width": "width",
    "frames": "num_frames",
}
"""Parameter of diffusers' calls for each field of `generate` that is passed on."""

_OURS: Final = frozenset(
    {
        "callback",
        "callback_on_step_end",
        "generator",
        "latents",
        "num_images_per_prompt",
        "num_videos_per_prompt",
        "output_type",
        "prompt",
        "return_dict",
        *PARAMETERS.values(),
    }
)
"""Parameters that no option may set: fields of the job say them, or the runtime does."""

_INPUTS: Final = {
    "image": ("image",),
    "mask": ("mask_image", "mask", "control_mask"),
    "control": ("control_image", "conditioning_frames"),
    "reference": ("ip_adapter_image",),
    "video": ("video",),
}
"""Parameters that take each input, the first that a pipeline has."""

_VIDEO_FORMATS: Final = frozenset({Format.MP4, Format.WEBM, Format.FRAMES})


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a pipeline's call takes."""

    name: str
    """The pipeline's class."""
    parameters: frozenset[str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Parameter of each input that it takes."""
    needed: frozenset[str] = frozenset()
    """Inputs without which it makes nothing."""
    scales: Mapping[str, object] = field(default_factory=dict)
    """Arguments that carry the weights of adapters."""
    controls: int = 0
    """Networks that read the control picture."""
    control_mode: str = "RGB"
    """Pillow's mode of the control picture."""
    references: int = 0
    """IP adapters that read the reference."""
    frames: int = 0
    """Frames of a video where nobody asks for a number; 0 for pictures."""

    @property
    def makes_videos(self) -> bool:
        """Whether its results are videos."""
        return bool({"num_frames", "video", "conditioning_frames"} & self.parameters)

    @property
    def together(self) -> bool:
        """Whether one call can make several items that have pictures of their own."""
        lists = self.controls > 1 or "conditioning_frames" in self.inputs.values()
        return not (self.references or lists or "video" in self.inputs)

    @property
    def free(self) -> list[str]:
        """Parameters that an option may set."""
        return sorted(self.parameters - _OURS - set(self.inputs.values()) - set(self.scales))


def signature_of(kind: Any, adapters: Sequence[PlannedAdapter] = ()) -> Signature:
    """Gives what a pipeline class takes once adapters are put on it."""
    described = dict(inspect.signature(kind.__call__).parameters)
    parameters = frozenset(described) - {"self", "args", "kwargs"}
    kinds = [planned.adapter.kind for planned in adapters]
    controls = sum(kind in SCALES for kind in kinds)
    references = kinds.count(AdapterKind.IP_ADAPTER)
    inputs = _inputs(parameters, controls, references)
    frames = described["num_frames"].default if "num_frames" in described else 0
    channels = {planned.channels for planned in adapters if planned.class_name}
    return Signature(
        name=kind.__name__,
        parameters=parameters,
        inputs=inputs,
        needed=_needed(described, inputs, controls, references),
        scales=scales_of([planned.adapter for planned in adapters]),
        controls=controls,
        control_mode="L" if channels == {1} else "RGB",
        references=references,
        frames=frames if isinstance(frames, int) else 16,
    )


def check_job(generate: Generate, output: Format, signature: Signature) -> None:
    """Refuses what no item could be made with.

    Raises:
        UnknownOptionError: A field or an option has no parameter in the pipeline's call.
        InvalidJobError: The scheduler is no class of diffusers, or the format is not for what the pipeline
            makes.
    """
    inputs = _named(WorklistLine(), generate)
    coming = signature.needed if generate.worklist is not None else frozenset[str]()
    _check(
        "spec.generate", _given(generate), generate.options, inputs, signature, sized=bool(inputs | coming)
    )
    if generate.prompts is not None and (missing := sorted(signature.needed - inputs)):
        raise InvalidJobError(
            f"{signature.name} makes nothing without the input {', '.join(missing)}; name it in spec.generate.inputs"
        )
    check_scheduler("spec.generate.scheduler", generate.scheduler)
    if signature.makes_videos != (output in _VIDEO_FORMATS):
        makes = "videos; choose MP4, WebM or Frames"
        if not signature.makes_videos:
            makes = "pictures; choose PNG, JPEG or WebP"
        raise InvalidJobError(f"spec.output.format is {output}, and {signature.name} makes {makes}")


def check_line(place: str, line: WorklistLine, generate: Generate, signature: Signature) -> None:
    """Refuses what a line asks for and the pipeline does not have, and what it lacks and the pipeline needs.

    Raises:
        UnknownOptionError: As `check_job`.
        InvalidJobError: As `check_job`, or an input or the prompt is missing, or is there in vain.
    """
    inputs = _named(line, generate)
    if missing := sorted(signature.needed - inputs):
        raise InvalidJobError(
            f"{place}: {signature.name} makes nothing without the input {', '.join(missing)}; name it in the line, "
            "or for all in spec.generate.inputs"
        )
    if line.prompt and "prompt" not in signature.parameters:
        raise UnknownOptionError(
            f"{place}: has a prompt, and {signature.name} takes none; write an empty one, or a line without"
        )
    if line.model_fields_set <= {"prompt", "seed", "id", "labels"}:
        return
    _check(place, _given(line), line.options or {}, inputs, signature, sized=bool(inputs))
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


def _inputs(parameters: frozenset[str], controls: int, references: int) -> dict[str, str]:
    found = {
        name: parameter
        for name, choices in _INPUTS.items()
        if (parameter := next((choice for choice in choices if choice in parameters), None)) is not None
    }
    if not references:
        found.pop("reference", None)
    if not controls:
        # Flux Control and its like are made for control pictures: no network beside the denoiser reads them.
        return found
    if "control" not in found and "image" in found:
        found["control"] = found.pop("image")
    return found


def _needed(
    described: Mapping[str, inspect.Parameter], inputs: Mapping[str, str], controls: int, references: int
) -> frozenset[str]:
    """Gives the inputs without which a pipeline makes nothing; a default of None says little in diffusers."""
    needed = {
        name for name, parameter in inputs.items() if described[parameter].default is inspect.Parameter.empty
    }
    needed |= {name for name in ("image", "video") if name in inputs and "strength" in described}
    needed |= {name for name in ("mask",) if name in inputs}
    needed |= {"control"} if controls and "control" in inputs else set()
    needed |= {"reference"} if references else set()
    # Several inputs over one strength are alternatives: a pipeline that takes a video needs no image.
    return frozenset(needed - ({"image"} if {"image", "video"} <= needed else set()))


def _named(line: WorklistLine, generate: Generate) -> frozenset[str]:
    return frozenset(inputs_of(line, generate))


def _given(source: Generate | WorklistLine) -> list[str]:
    return [name for name in PARAMETERS if getattr(source, name) not in (None, "")]


def _check(
    place: str,
    given: Iterable[str],
    options: Mapping[str, object],
    inputs: frozenset[str],
    signature: Signature,
    *,
    sized: bool,
) -> None:
    for name in given:
        if sized and name in {"height", "width"}:
            continue  # where the pipeline takes its size from its inputs, they are brought to this one
        if PARAMETERS[name] not in signature.parameters:
            raise UnknownOptionError(
                f"{place}: {to_camel(name)} is set, and {signature.name} has no {PARAMETERS[name]}; remove it"
            )
    for name in sorted(inputs - signature.inputs.keys()):
        raise UnknownOptionError(f"{place}: {_unwanted(name, signature)}")
    for name in options:
        if name in signature.scales:
            raise UnknownOptionError(f"{place}: options.{name} is the adapters' weight; set it there")
        if name in signature.inputs.values():
            raise UnknownOptionError(f"{place}: options.{name} is a picture; name its address under inputs")
        if name in _OURS:
            raise UnknownOptionError(
                f"{place}: options.{name} is set by the job's own fields or by the runtime; remove it there"
            )
        if name not in signature.parameters:
            meant = nearest(name, signature.free)
            hint = f"did you mean {meant}?" if meant else f"it takes {', '.join(signature.free)}"
            raise UnknownOptionError(f"{place}: options.{name} is no parameter of {signature.name}; {hint}")


def _unwanted(name: str, signature: Signature) -> str:
    """Says that a pipeline does not take an input, and which would."""
    remedies = {
        "control": "add a ControlNet or T2IAdapter to spec.model.adapters",
        "reference": "add an IPAdapter to spec.model.adapters",
    }
    others = _relatives_with(name, signature.name)
    choose = f"choose another spec.model.pipeline, such as {others[0]}" if others else "remove it"
    return f"names the input {name}, and {signature.name} takes none; {remedies.get(name, choose)}"


def _relatives_with(name: str, own: str) -> list[str]:
    """Gives pipelines of the same family that take an input, by the names that diffusers gives them."""
    import diffusers

    stem = own.removesuffix("Pipeline")
    endings = {"image": ("Img2Img", "ImageToVideo"), "mask": ("Inpaint",), "video": ("VideoToVideo",)}
    known = set(dir(diffusers))
    return [found for ending in endings.get(name, ()) if (found := f"{stem}{ending}Pipeline") in known]
