"""From sources to a pipeline: planned and checked first, from small files alone, then loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncdiff_api.formats.errors import ContractError, ModelUnavailableError
from asyncdiff_api.model import Model

from asyncdiff_runtime.batch.memory import ran_out_of_memory
from asyncdiff_runtime.batch.models.adapters import (
    PlannedAdapter,
    components_of,
    pipeline_with,
    plan_adapter,
    put_on,
)
from asyncdiff_runtime.batch.models.layout import (
    CONFIG,
    INDEX,
    Index,
    check_components,
    class_in_config,
    diffusers_class,
    files_of_part,
    files_of_pipeline,
    read_index,
)
from asyncdiff_runtime.batch.models.parts import Parts
from asyncdiff_runtime.batch.models.quantization import check_quantization, quantization_config
from asyncdiff_runtime.batch.models.sources import Received, Source


@dataclass(frozen=True)
class PlannedVae:
    """Another VAE, whose files are found."""

    source: Source
    files: frozenset[str]
    folder: str
    class_name: str


@dataclass(frozen=True)
class Plan:
    """What will be loaded: every file is known to be there, and every class to exist."""

    model: Model
    source: Source
    index: Index
    kind: Any
    """Pipeline class of diffusers."""
    files: frozenset[str]
    vae: PlannedVae | None
    adapters: tuple[PlannedAdapter, ...]

    def fetch(self) -> Path:
        """Brings the model's files to this machine, unless they are here, and gives their folder.

        Raises:
            ModelUnavailableError: As `Source`.
            OutageError: As `Source`.
        """
        return self.source.fetch(self.files)

    def fetch_all(self) -> None:
        """As `fetch`, for the VAE and the adapters too."""
        for source, files in self._wanted():
            source.fetch(files)

    def received(self) -> Received:
        """Gives how much of all that is on this machine."""
        return sum((source.received(files) for source, files in self._wanted()), Received())

    def _wanted(self) -> Iterator[tuple[Source, frozenset[str]]]:
        yield self.source, self.files
        if self.vae is not None:
            yield self.vae.source, self.vae.files
        for planned in self.adapters:
            yield planned.source, planned.files


def plan_model(model: Model, parts: Parts) -> Plan:
    """Plans the loading of a model; reads listings and small files, and no weights.

    Raises:
        ModelUnavailableError: Something is missing, of another kind, or may not be loaded.
        InvalidJobError: The pipeline cannot take an adapter, or the quantization.
        OutageError: The hub or the bucket was not reached.
    """
    index = read_index(parts.model)
    adapters = tuple(
        plan_adapter(adapter, source, model.allow_pickle)
        for adapter, source in zip(model.adapters, parts.adapters, strict=True)
    )
    where = "spec.model.pipeline" if model.pipeline else f"{INDEX} of {parts.model.name}"
    kind = pipeline_with(model.pipeline or index.pipeline, adapters, where)
    check_components(index, parts.model)
    vae = _plan_vae(parts.vae, model.allow_pickle) if parts.vae is not None else None
    if model.quantization is not None:
        check_quantization(model.quantization, index.components)
    files = files_of_pipeline(
        index,
        parts.model,
        variant=model.variant,
        allow_pickle=model.allow_pickle,
        without={"vae"} if vae is not None else (),
    )
    return Plan(model, parts.model, index, kind, files, vae, adapters)


def load_pipeline(plan: Plan, device: str, without_weights: Collection[str] = ()) -> Any:
    """Fetches what is planned and loads it onto a device: weights from safetensors alone unless allowed.

    Args:
        plan: What to load.
        device: Where to.
        without_weights: Names of the model's own parts whose weights stay in their files. No adapter may change them.

    Raises:
        ModelUnavailableError: A file cannot be read, or adapters and model do not go together.
        OutageError: The hub or the bucket was not reached.
    """
    import torch

    model, dtype = plan.model, getattr(torch, plan.model.dtype)
    extra: dict[str, Any] = {}
    if plan.vae is not None:
        with _loading(plan.vae.source.name):
            extra["vae"] = _load_vae(plan.vae, dtype, model.allow_pickle)
    if model.quantization is not None:
        extra["quantization_config"] = quantization_config(model.quantization, plan.index.components)
    with _loading(" and ".join(planned.source.name for planned in plan.adapters)):
        extra |= components_of(plan.adapters, dtype, model.allow_pickle)
    with _loading(plan.source.name):
        extra |= {name: _without_weights(plan, name, dtype) for name in without_weights}
    with _loading(plan.source.name):
        pipe = plan.kind.from_pretrained(
            str(plan.fetch()),
            dtype=dtype,
            variant=model.variant or None,
            use_safetensors=None if model.allow_pickle else True,
            local_files_only=True,
            **extra,
        )
    with _loading(" and ".join(planned.source.name for planned in plan.adapters)):
        put_on(pipe, plan.adapters, fuse=model.quantization is None)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _without_weights(plan: Plan, name: str, dtype: Any) -> Any:
    from asyncdiff_runtime.engine import PipelineRefused, weightless

    _, class_name = plan.index.components[name]
    kind = diffusers_class(class_name, "ModelMixin", INDEX)
    try:
        return weightless(kind, plan.fetch() / name, dtype=dtype, variant=plan.model.variant)
    except PipelineRefused as error:
        raise ModelUnavailableError(f"{plan.source.name}: {error}") from error


def _plan_vae(source: Source, allow_pickle: bool) -> PlannedVae:
    """Finds a VAE: at the root of a repository of its own, or as the part of a whole pipeline."""
    folder = "" if CONFIG in source.files() else "vae"
    class_name = class_in_config(source, folder)
    if not class_name.startswith(("Autoencoder", "Consistency", "AsymmetricAutoencoder")):
        raise ModelUnavailableError(f"{source.name} is a {class_name} and no VAE; correct spec.model.vae")
    diffusers_class(class_name, "ModelMixin", f"{CONFIG} of {source.name}")
    prefix = f"{folder}/" if folder else ""
    mine = [
        file for file in source.files() if file.startswith(prefix) and "/" not in file.removeprefix(prefix)
    ]
    files = files_of_part("the VAE", mine, source, allow_pickle=allow_pickle)
    return PlannedVae(source, files, folder, class_name)


def _load_vae(vae: PlannedVae, dtype: Any, allow_pickle: bool) -> Any:
    return diffusers_class(vae.class_name, "ModelMixin", vae.source.name).from_pretrained(
        str(vae.source.fetch(vae.files)),
        subfolder=vae.folder or None,
        dtype=dtype,
        use_safetensors=None if allow_pickle else True,
        local_files_only=True,
    )


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Says what the libraries find wrong with files; what the GPU says stays as it is."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except (ContractError, torch.AcceleratorError):
        raise
    except (
        AttributeError,
        ImportError,
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        if ran_out_of_memory(error):
            raise
        raise ModelUnavailableError(
            f"{name} could not be loaded ({type(error).__name__}: {error})"
        ) from error
