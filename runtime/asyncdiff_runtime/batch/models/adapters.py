"""LoRAs, ControlNets and other adapters: which files, which pipeline class, and how they are put on."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from asyncdiff_api.formats.errors import InvalidJobError, ModelUnavailableError
from asyncdiff_api.model import Adapter, AdapterKind

from asyncdiff_runtime.batch.models.layout import (
    CONFIG,
    LORA_FILE,
    class_in_config,
    diffusers_class,
    files_of_part,
    weights_of,
)
from asyncdiff_runtime.batch.models.sources import Source

COMPONENTS: Final = {
    AdapterKind.CONTROL_NET: "controlnet",
    AdapterKind.T2I_ADAPTER: "adapter",
    AdapterKind.MOTION_ADAPTER: "motion_adapter",
}
"""Part of the pipeline that an adapter with a network of its own becomes."""

LOADERS: Final = {AdapterKind.LORA: "load_lora_weights", AdapterKind.IP_ADAPTER: "load_ip_adapter"}
"""Method of the pipeline that puts the other adapters on."""

SCALES: Final = {
    AdapterKind.CONTROL_NET: "controlnet_conditioning_scale",
    AdapterKind.T2I_ADAPTER: "adapter_conditioning_scale",
}
"""Parameter of the pipeline's call that takes an adapter's weight."""

_WITH_MOTION: Final = {
    "StableDiffusionPipeline": "AnimateDiffPipeline",
    "StableDiffusionControlNetPipeline": "AnimateDiffControlNetPipeline",
    "StableDiffusionXLPipeline": "AnimateDiffSDXLPipeline",
}
_TASK: Final = re.compile("((?:PAG)?(?:Img2Img|Inpaint)?)Pipeline$")
_LARGE_ENCODER: Final = "models/image_encoder"
"""Where the widely used IP adapters keep the encoder (ViT-H) that those for SDXL marked `vit-h` share."""


@dataclass(frozen=True)
class PlannedAdapter:
    """An adapter whose files are found and whose class is known."""

    adapter: Adapter
    source: Source
    files: frozenset[str]
    folder: str
    """Folder of the weights inside the source; empty for its root."""
    weights: str = ""
    """Weights file inside the folder, for LoRA and IP adapter."""
    class_name: str = ""
    """Class of diffusers, for adapters that are networks of their own."""
    encoder: str = ""
    """Folder of the image encoder of an IP adapter; empty where it brings none."""
    channels: int = 3
    """Channels of the control picture that it takes: 1 for some T2I adapters."""


def plan_adapter(adapter: Adapter, source: Source, allow_pickle: bool) -> PlannedAdapter:
    """Finds an adapter's files.

    Raises:
        ModelUnavailableError: They are missing, may not be loaded, or are of another kind.
        OutageError: As `Source`.
    """
    if adapter.kind in COMPONENTS:
        return _plan_component(adapter, source, allow_pickle)
    file = adapter.file or _only_weights(adapter, source)
    if file not in source.files():
        there = ", ".join(_weights(source.files())[:8]) or "no weights at all"
        raise ModelUnavailableError(
            f"{source.name}: there is no file {file}; it holds {there}; correct the adapter's file"
        )
    found = weights_of(file)
    if found is None or (found.pickle and not allow_pickle):
        raise ModelUnavailableError(
            f"{source.name}: {file} is no safetensors file, and others may run code of whoever wrote them; name one "
            "that is, or set spec.model.allowPickle if you trust it"
        )
    folder, name = _split(file)
    if adapter.kind is AdapterKind.LORA:
        return PlannedAdapter(adapter, source, frozenset({file}), folder, name)
    encoder = _image_encoder(file, source.files())
    mine = [other for other in source.files() if encoder and other.startswith(f"{encoder}/")]
    files = files_of_part(encoder, mine, source, allow_pickle=allow_pickle) if encoder else frozenset[str]()
    return PlannedAdapter(adapter, source, files | {file}, folder, name, encoder=encoder)


def pipeline_with(own: str, adapters: Sequence[PlannedAdapter], found_in: str) -> Any:
    """Gives the pipeline class that takes the adapters: the model's own, or its relative that does.

    Args:
        own: Class that the model or the job names.
        adapters: The job's adapters.
        found_in: What names the class, for messages.

    Raises:
        ModelUnavailableError: The class is no pipeline of diffusers.
        InvalidJobError: No relative takes an adapter; names it.
    """
    kind = diffusers_class(own, "DiffusionPipeline", found_in)
    order = [AdapterKind.MOTION_ADAPTER, AdapterKind.CONTROL_NET, AdapterKind.T2I_ADAPTER]
    for planned in sorted(
        (one for one in adapters if one.class_name), key=lambda one: order.index(one.adapter.kind)
    ):
        kind = _relative(kind, planned)
    for planned in adapters:
        loader = LOADERS.get(planned.adapter.kind)
        if loader is not None and not hasattr(kind, loader):
            raise InvalidJobError(
                f"{planned.source.name} is a {planned.adapter.kind}, and {kind.__name__} takes none; remove the "
                "adapter, or use another model"
            )
    return kind


def scales_of(adapters: Sequence[Adapter]) -> dict[str, object]:
    """Gives the arguments of the pipeline's call that carry weights of adapters."""
    scales: dict[str, object] = {}
    for kind, parameter in SCALES.items():
        weights = [adapter.weight for adapter in adapters if adapter.kind is kind]
        if weights:
            scales[parameter] = weights if len(weights) > 1 else weights[0]
    return scales


def components_of(adapters: Sequence[PlannedAdapter], dtype: Any, allow_pickle: bool) -> dict[str, Any]:
    """Loads the adapters that are networks of their own; gives them by the names of the pipeline's parts.

    Raises:
        Exception: Whatever diffusers finds wrong with the files.
    """
    loaded: dict[str, list[Any]] = {}
    for planned in adapters:
        if not planned.class_name:
            continue
        network = diffusers_class(planned.class_name, "ModelMixin", planned.source.name).from_pretrained(
            str(planned.source.fetch(planned.files)),
            subfolder=planned.folder or None,
            dtype=dtype,
            use_safetensors=None if allow_pickle else True,
            local_files_only=True,
        )
        loaded.setdefault(COMPONENTS[planned.adapter.kind], []).append(network)
    return {name: parts if len(parts) > 1 else parts[0] for name, parts in loaded.items()}


def put_on(pipe: Any, adapters: Sequence[PlannedAdapter], *, fuse: bool) -> None:
    """Puts LoRAs and IP adapters on a loaded pipeline.

    Args:
        pipe: The pipeline.
        adapters: The job's adapters, in order.
        fuse: Whether LoRAs become part of the weights: the same result without their cost at each
            evaluation, where the weights are floating-point numbers.

    Raises:
        ModelUnavailableError: A LoRA is not for this model.
        Exception: Whatever diffusers finds wrong with the files.
    """
    loras = [planned for planned in adapters if planned.adapter.kind is AdapterKind.LORA]
    if loras:
        _put_on_loras(pipe, loras, fuse=fuse)
    images = [planned for planned in adapters if planned.adapter.kind is AdapterKind.IP_ADAPTER]
    if images:
        _put_on_image_prompts(pipe, images)


def configured(adapter: Adapter, source: Source) -> PlannedAdapter:
    """Finds the configuration of an adapter with a network of its own; its weights need not be there.

    Raises:
        ModelUnavailableError: There is none, or it is of another kind.
        OutageError: As `Source`.
    """
    folder, _ = _place(adapter)
    class_name = class_in_config(source, folder)
    fits = {
        AdapterKind.CONTROL_NET: "ControlNet" in class_name,
        AdapterKind.T2I_ADAPTER: class_name == "T2IAdapter",
        AdapterKind.MOTION_ADAPTER: class_name == "MotionAdapter",
    }
    if not fits[adapter.kind]:
        raise ModelUnavailableError(
            f"{source.name} is a {class_name}, and the job names it as {adapter.kind}; correct the adapter's kind "
            "or its source"
        )
    diffusers_class(class_name, "ModelMixin", f"{CONFIG} of {source.name}")
    file = f"{folder}/{CONFIG}" if folder else CONFIG
    config = json.loads(source.read(file))
    channels = int(config.get("in_channels", 3)) if adapter.kind is AdapterKind.T2I_ADAPTER else 3
    return PlannedAdapter(
        adapter, source, frozenset({file}), folder, class_name=class_name, channels=channels
    )


def _plan_component(adapter: Adapter, source: Source, allow_pickle: bool) -> PlannedAdapter:
    (folder, name), found = _place(adapter), configured(adapter, source)
    prefix = f"{folder}/" if folder else ""
    mine = {
        file for file in source.files() if file.startswith(prefix) and "/" not in file.removeprefix(prefix)
    }
    variant = getattr(weights_of(name), "variant", "")
    if variant:
        raise ModelUnavailableError(
            f"{source.name}: {adapter.file} is a variant of the weights, which is not loaded; name the folder, or "
            "the file without a variant"
        )
    files = files_of_part(f"the {adapter.kind}", mine, source, allow_pickle=allow_pickle)
    return replace(found, files=files)


def _place(adapter: Adapter) -> tuple[str, str]:
    """Gives the folder of an adapter's network, and the name of its weights file if it is named."""
    return _split(adapter.file) if weights_of(adapter.file) else (adapter.file.rstrip("/"), "")


def _relative(kind: Any, planned: PlannedAdapter) -> Any:
    """Gives the class that does what a pipeline does and takes an adapter's network as well."""
    import diffusers

    part = COMPONENTS[planned.adapter.kind]
    known = set(dir(diffusers))
    for name in (kind.__name__, *_relatives(kind.__name__, planned)):
        found = getattr(diffusers, name) if name in known else None
        if found is not None and part in inspect.signature(found.__init__).parameters:
            return found
    raise InvalidJobError(
        f"{planned.source.name} is a {planned.class_name}, and diffusers {diffusers.__version__} has no form of "
        f"{kind.__name__} that takes one; remove the adapter, or name a pipeline that does as spec.model.pipeline"
    )


def _relatives(name: str, planned: PlannedAdapter) -> Iterator[str]:
    if planned.adapter.kind is AdapterKind.MOTION_ADAPTER:
        if name in _WITH_MOTION:
            yield _WITH_MOTION[name]
        return
    word = "Adapter"
    if planned.adapter.kind is AdapterKind.CONTROL_NET:
        special = re.search("ControlNetUnion|SparseControlNet", planned.class_name)
        word = special[0] if special else "ControlNet"
    yield _TASK.sub(rf"{word}\1Pipeline", name)
    yield name.replace("InpaintPipeline", f"{word}InpaintingPipeline")
    yield name.replace("Pipeline", f"{word}Pipeline")


def _put_on_loras(pipe: Any, loras: Sequence[PlannedAdapter], *, fuse: bool) -> None:
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, planned in zip(names, loras, strict=True):
        folder = planned.source.fetch(planned.files) / planned.folder
        with warnings.catch_warnings():  # that there is another LoRA already, which is what was asked for
            warnings.filterwarnings("ignore", "Already found a `peft_config` attribute", UserWarning)
            pipe.load_lora_weights(
                str(folder), weight_name=planned.weights, adapter_name=name, local_files_only=True
            )
        # A LoRA of which no key names a part of the model is taken without a word.
        if not any(name in known for known in pipe.get_list_adapters().values()):
            raise ModelUnavailableError(
                f"{planned.source.name} is a LoRA for another model: nothing in {planned.weights} belongs to "
                f"{type(pipe).__name__}; remove the adapter, or name the model it was made for"
            )
    pipe.set_adapters(names, adapter_weights=[planned.adapter.weight for planned in loras])
    if fuse:
        changed = [part for part, known in pipe.get_list_adapters().items() if known]
        pipe.fuse_lora(components=changed, adapter_names=names)
        pipe.unload_lora_weights()


def _put_on_image_prompts(pipe: Any, adapters: Sequence[PlannedAdapter]) -> None:
    encoders = {planned.encoder for planned in adapters if planned.encoder}
    if getattr(pipe, "image_encoder", None) is None and not encoders:
        raise ModelUnavailableError(
            f"{adapters[0].source.name} brings no image encoder and the model has none; name an adapter that does"
        )
    if len(encoders) > 1:
        raise ModelUnavailableError(
            f"the IP adapters need different image encoders ({', '.join(sorted(encoders))}), and a pipeline has "
            "one; keep those that share one"
        )
    # With a slash in it, diffusers reads the folder from the root of the source.
    encoder = next(iter(encoders), None)
    pipe.load_ip_adapter(
        [str(planned.source.fetch(planned.files)) for planned in adapters],
        subfolder=[planned.folder for planned in adapters],
        weight_name=[planned.weights for planned in adapters],
        image_encoder_folder=encoder if encoder is None or "/" in encoder else f"./{encoder}",
        local_files_only=True,
    )
    pipe.set_ip_adapter_scale([planned.adapter.weight for planned in adapters])


def _only_weights(adapter: Adapter, source: Source) -> str:
    """Gives the weights file of a source that names none: the usual name, or the only one there is."""
    files = source.files()
    if adapter.kind is AdapterKind.LORA and LORA_FILE in files:
        return LORA_FILE
    outside = [file for file in _weights(files) if "image_encoder/" not in file]
    found = [file for file in outside if file.endswith(".safetensors")] or outside
    if len(found) == 1:
        return found[0]
    there = f"it holds {', '.join(found[:8])}" if found else "it holds no weights"
    raise ModelUnavailableError(
        f"{source.name}: which weights file is the {adapter.kind}? {there}; name it as the adapter's file"
    )


def _image_encoder(file: str, files: frozenset[str]) -> str:
    folder, name = _split(file)
    beside = f"{folder}/image_encoder" if folder else "image_encoder"
    order = [_LARGE_ENCODER, beside] if "vit-h" in name else [beside, _LARGE_ENCODER]
    return next((place for place in (*order, "image_encoder") if f"{place}/{CONFIG}" in files), "")


def _weights(files: frozenset[str]) -> list[str]:
    return sorted(file for file in files if weights_of(file) is not None)


def _split(file: str) -> tuple[str, str]:
    path = PurePosixPath(file)
    return ("" if str(path.parent) == "." else str(path.parent)), path.name
