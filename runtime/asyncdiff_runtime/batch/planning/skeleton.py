"""A pipeline whose modules have forms and no values, built from its configuration."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncdiff_api.formats.errors import ModelUnavailableError
from asyncdiff_api.model import Model

from asyncdiff_runtime.batch.models.adapters import (
    COMPONENTS,
    PlannedAdapter,
    configured,
    pipeline_with,
)
from asyncdiff_runtime.batch.models.layout import (
    INDEX,
    Index,
    check_components,
    read_index,
    weights_of,
)
from asyncdiff_runtime.batch.models.parts import Parts
from asyncdiff_runtime.batch.models.sources import Source
from asyncdiff_runtime.batch.planning.tokens import Tokens

if TYPE_CHECKING:
    from torch import nn
    from torch._subclasses.fake_tensor import FakeTensorMode

_VOCABULARIES: Final = frozenset(
    {"merges.txt", "spiece.model", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}
)
_TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_SMALL: Final = frozenset({".json", ".jinja", ".model", ".txt"})
"""Endings of the files that are read: configuration and vocabularies."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A pipeline without values.

    Attributes:
        pipe: the pipeline; its scheduler is real.
        mode: the fake tensors' mode, in which its modules can be called.
        stand_ins: names of tokenizers whose vocabulary was not there.
        adapters: those of the job's adapters that are networks of their own, and so parts of the pipeline.
    """

    pipe: Any
    mode: FakeTensorMode
    stand_ins: tuple[str, ...]
    adapters: tuple[PlannedAdapter, ...] = ()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The pipeline's modules by name."""
        from torch import nn

        return {name: part for name, part in self.pipe.components.items() if isinstance(part, nn.Module)}


def skeleton(model: Model, parts: Parts) -> Skeleton:
    """Builds a model's pipeline from its configuration files: no weights are read, and none need be there.

    Adapters that are networks of their own (ControlNets and the like) are built in; others change weights alone.

    Raises:
        ModelUnavailableError: A file is missing, or names what is not installed.
        InvalidJobError: The pipeline takes no such adapter.
        OutageError: The hub or the bucket was not reached.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    source = parts.model
    index = read_index(source)
    check_components(index, source)
    where = "spec.model.pipeline" if model.pipeline else f"{INDEX} of {source.name}"
    adapters = tuple(
        configured(adapter, its)
        for adapter, its in zip(model.adapters, parts.adapters, strict=True)
        if adapter.kind in COMPONENTS
    )
    kind = pipeline_with(model.pipeline or index.pipeline, adapters, where)
    folder = source.fetch(_files(index, source))
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dtype = getattr(torch, model.dtype)
    built = {
        name: _part(folder / name, library, class_name, source, mode, dtype)
        for name, (library, class_name) in index.components.items()
    }
    built |= _networks(adapters, mode, dtype)
    with mode if adapters else nullcontext():  # some pipelines make one network of two
        pipe = kind(**_arguments(kind, built, _settings(source)))
    pipe.set_progress_bar_config(disable=True)
    stand_ins = tuple(name for name, part in built.items() if isinstance(part, Tokens))
    return Skeleton(pipe, mode, stand_ins, adapters)


def _networks(adapters: Sequence[PlannedAdapter], mode: FakeTensorMode, dtype: Any) -> dict[str, Any]:
    """The adapters' networks, by the names of the pipeline's parts."""
    built: dict[str, list[Any]] = {}
    for planned in adapters:
        folder = planned.source.fetch(planned.files) / planned.folder
        network = _part(folder, "diffusers", planned.class_name, planned.source, mode, dtype)
        built.setdefault(COMPONENTS[planned.adapter.kind], []).append(network)
    return {name: networks if len(networks) > 1 else networks[0] for name, networks in built.items()}


def _files(index: Index, source: Source) -> set[str]:
    """Names of the files that are read of a model; refuses parts that have none."""
    wanted = {INDEX}
    for name, (_, class_name) in index.components.items():
        mine = {
            file
            for file in source.files()
            if file.startswith(f"{name}/") and Path(file).suffix in _SMALL and weights_of(file) is None
        }
        if not mine:
            raise ModelUnavailableError(
                f"{source.name}: {name} (a {class_name}) has no configuration in {name}/; {source.remedy}"
            )
        wanted |= mine
    return wanted


def _settings(source: Source) -> dict[str, Any]:
    """What the index says beside its parts, such as `force_zeros_for_empty_prompt`."""
    content: dict[str, Any] = json.loads(source.read(INDEX))
    return {name: value for name, value in content.items() if not name.startswith("_")}


def _arguments(kind: Any, built: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a pipeline is made with: its parts and settings, and None for parts that the model lacks."""
    described = inspect.signature(kind.__init__).parameters
    known = {
        name: None
        for name, parameter in described.items()
        if parameter.default is inspect.Parameter.empty and name not in ("self", "args", "kwargs")
    }
    given = {
        name: value for name, value in settings.items() if name in described and not isinstance(value, list)
    }
    return known | given | {name: part for name, part in built.items() if name in described}


def _part(
    folder: Path, library: str, class_name: str, source: Source, mode: FakeTensorMode, dtype: Any
) -> Any:
    kind = _class(library, class_name)
    try:
        return _built(kind, folder, mode, dtype)
    except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ModelUnavailableError(
            f"{source.name}: {folder.name} (a {class_name}) cannot be built from its configuration "
            f"({type(error).__name__}: {error}); {source.remedy}"
        ) from error


def _class(library: str, name: str) -> Any:
    package = library if library in {"diffusers", "transformers"} else f"diffusers.pipelines.{library}"
    return getattr(importlib.import_module(package), name)


def _built(kind: Any, folder: Path, mode: FakeTensorMode, dtype: Any) -> Any:
    import diffusers
    import transformers
    from torch import nn

    if not issubclass(kind, nn.Module):
        return _without_weights(kind, folder)
    with mode:
        if issubclass(kind, diffusers.ModelMixin):
            module = kind.from_config(kind.load_config(str(folder), local_files_only=True))
        elif issubclass(kind, transformers.PreTrainedModel):
            module = kind(kind.config_class.from_pretrained(str(folder), local_files_only=True))
        else:
            raise TypeError(f"{kind.__name__} is a model neither of diffusers nor of transformers")
        return cast(_fake_buffers(module, mode), dtype).eval()


def _without_weights(kind: Any, folder: Path) -> Any:
    """A scheduler, an image processor or a tokenizer; the latter stood for where its vocabulary is missing."""
    vocabulary = {path.name for path in folder.iterdir()} & _VOCABULARIES
    if (folder / _TOKENIZER_CONFIG).is_file() and not vocabulary:
        return Tokens(json.loads((folder / _TOKENIZER_CONFIG).read_text()))
    return kind.from_pretrained(str(folder), local_files_only=True)


def cast(module: nn.Module, dtype: Any) -> nn.Module:
    """Gives a module's floating weights another type, in the fake tensors' mode, where `Module.to` cannot."""
    from torch import nn

    made: dict[int, nn.Parameter] = {}  # a weight that two modules share stays one
    for owner in module.modules():
        for name, weight in list(owner.named_parameters(recurse=False)):
            if id(weight) not in made:
                changed = weight.detach().to(dtype) if weight.is_floating_point() else weight.detach()
                made[id(weight)] = nn.Parameter(changed, requires_grad=False)
            setattr(owner, name, made[id(weight)])
        for name, buffer in list(owner.named_buffers(recurse=False)):
            persistent = name not in owner._non_persistent_buffers_set  # noqa: SLF001 -- torch has no other way
            if persistent and buffer.is_floating_point():
                setattr(owner, name, buffer.to(dtype))
    return module


def _fake_buffers(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Makes tables fake that a module's constructor made by numpy."""
    from torch._subclasses.fake_tensor import FakeTensor

    for owner in module.modules():
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if not isinstance(buffer, FakeTensor):
                setattr(owner, name, mode.from_tensor(buffer))
    return module
