"""What a model's folder must hold: its index, the classes that it names, and weights that may be loaded."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from asyncdiff_api.formats.errors import ModelUnavailableError

from asyncdiff_runtime.batch.models.sources import Source

INDEX: Final = "model_index.json"
CONFIG: Final = "config.json"
LORA_FILE: Final = "pytorch_lora_weights.safetensors"

_PICKLES: Final = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth"})
_OF_OTHER_FRAMEWORKS: Final = frozenset(
    {".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".pb", ".tflite"}
)
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}")
_LISTING: Final = re.compile(r"\.(safetensors|bin)\.index\.(?:(.+)\.)?json$")
_WITHOUT_WEIGHTS: Final = ("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor", "Scheduler")


class Weights(NamedTuple):
    """What the name of a weights file says."""

    pickle: bool
    variant: str


@dataclass(frozen=True)
class Index:
    """What `model_index.json` says."""

    pipeline: str
    components: Mapping[str, tuple[str, str]]
    """Library and class of each part that the model brings, by its name."""
    saved_by: str = ""
    """Version of diffusers that wrote it."""


def read_index(source: Source) -> Index:
    """Reads a model's index.

    Raises:
        ModelUnavailableError: There is none, or it is none; says what lies there instead.
        OutageError: As `Source`.
    """
    files = source.files()
    if INDEX not in files:
        raise ModelUnavailableError(f"{source.name} holds no {INDEX}: {_what_it_is(source, files)}")
    try:
        content = json.loads(source.read(INDEX))
        pipeline = content["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailableError(
            f"{INDEX} of {source.name} names no pipeline class ({error!r}); save the model again with "
            "save_pretrained"
        ) from error
    if not isinstance(pipeline, str):
        raise ModelUnavailableError(
            f"{INDEX} of {source.name} names the pipeline class {pipeline}, which is code of its own; no code of "
            "a model is ever run: use a model whose pipeline diffusers has"
        )
    named = {name: value for name, value in content.items() if isinstance(value, list) and len(value) == 2}
    components = {
        name: (str(value[0]), str(value[1])) for name, value in named.items() if value[1] is not None
    }
    return Index(pipeline, components, str(content.get("_diffusers_version", "")))


def check_components(index: Index, source: Source) -> None:
    """Refuses parts of classes that are not installed; nothing is imported for it but two tables of names.

    Raises:
        ModelUnavailableError: A class is missing, or is code of the model's own.
    """
    import diffusers
    import transformers

    modules = {"diffusers": diffusers, "transformers": transformers}
    known = {library: dir(module) for library, module in modules.items()}
    for name, (library, class_name) in index.components.items():
        if library in known:
            # Names of earlier releases, such as T5TokenizerFast, are no rows of the table and still found.
            if class_name not in known[library] and not hasattr(modules[library], class_name):
                version = {"diffusers": diffusers.__version__, "transformers": transformers.__version__}[
                    library
                ]
                saved = f" (it was saved by diffusers {index.saved_by})" if index.saved_by else ""
                raise ModelUnavailableError(
                    f"{source.name}: {name} is a {class_name}, which {library} {version} does not have{saved}; "
                    "install a newer one, or use a model that it knows"
                )
        elif importlib.util.find_spec(f"diffusers.pipelines.{library.partition('.')[0]}") is None:
            raise ModelUnavailableError(
                f"{source.name}: {name} is a {class_name} of {library}, which is code of its own "
                "(trust_remote_code); no code of a model is ever run: use a model whose parts diffusers has"
            )


def files_of_pipeline(
    index: Index, source: Source, *, variant: str, allow_pickle: bool, without: Collection[str] = ()
) -> frozenset[str]:
    """Gives the files from which a pipeline is loaded.

    Args:
        index: The model's index.
        source: Where it lies.
        variant: Variant of weights that is preferred; a part without it has its plain ones loaded.
        allow_pickle: Whether pickles are taken where there are no safetensors.
        without: Parts that are loaded from elsewhere.

    Raises:
        ModelUnavailableError: A part lacks its weights, or has none that may be loaded.
        OutageError: As `Source`.
    """
    files = source.files()
    wanted = {INDEX}
    variants: set[str] = set()
    for name, (_, class_name) in index.components.items():
        if name in without:
            continue
        mine = frozenset(file for file in files if file.startswith(f"{name}/"))
        if not mine:
            raise ModelUnavailableError(
                f"{source.name} holds no folder {name}, which its {INDEX} names; {source.remedy}"
            )
        weighed = f"{name}/{CONFIG}" in mine and not class_name.endswith(_WITHOUT_WEIGHTS)
        variants |= {found.variant for file in mine if (found := weights_of(file)) is not None}
        wanted |= files_of_part(
            name, mine, source, variant=variant, allow_pickle=allow_pickle, weighed=weighed
        )
    if variant and variant not in variants:
        there = ", ".join(sorted(variants - {""})) or "none"
        raise ModelUnavailableError(
            f"{source.name} has no weights of the variant {variant} (its variants: {there}); correct "
            "spec.model.variant, or leave it out"
        )
    return frozenset(wanted)


def files_of_part(
    part: str,
    files: Iterable[str],
    source: Source,
    *,
    variant: str = "",
    allow_pickle: bool = False,
    weighed: bool = True,
) -> frozenset[str]:
    """Gives the files from which one part is loaded.

    Args:
        part: What it is called in messages.
        files: All files of its folder.
        source: Where it lies.
        variant: As `files_of_pipeline`.
        allow_pickle: As `files_of_pipeline`.
        weighed: Whether the part has weights at all.

    Raises:
        ModelUnavailableError: As `files_of_pipeline`.
    """
    weights = {file: found for file in files if (found := weights_of(file)) is not None}
    plain = frozenset(file for file in files if file not in weights and _is_plain(file))
    if not weighed:
        return plain
    for pickle, wanted in ((False, variant), (False, ""), (True, variant), (True, "")):
        chosen = frozenset(file for file, what in weights.items() if what == (pickle, wanted))
        if chosen and pickle and not allow_pickle:
            raise ModelUnavailableError(
                f"{source.name}: {part} has its weights as pickles alone ({', '.join(sorted(chosen)[:3])}), "
                "which may run code of whoever wrote them; use a revision with safetensors, or set "
                "spec.model.allowPickle if you trust it"
            )
        if chosen:
            return plain | chosen
    there = sorted({what.variant for what in weights.values()} - {""})
    if there:
        raise ModelUnavailableError(
            f"{source.name}: {part} has weights of the variants {', '.join(there)} alone; set spec.model.variant "
            "to one of them"
        )
    raise ModelUnavailableError(
        f"{source.name}: {part} has no weights (*.safetensors); it may have been uploaded in part: "
        f"{source.remedy}"
    )


def weights_of(file: str) -> Weights | None:
    """Gives what the name of a weights file, or of a listing of its shards, says; None for any other file.

    Names: `model.safetensors`, `model.fp16.safetensors`, `model-00001-of-00002.fp16.safetensors`,
    `model.safetensors.index.fp16.json`.
    """
    name = _SHARD.sub("", PurePosixPath(file).name)
    if listing := _LISTING.search(name):
        return Weights(listing[1] == "bin", listing[2] or "")
    stem, dot, extension = name.rpartition(".")
    if not dot or f".{extension}" not in {".safetensors", *_PICKLES}:
        return None
    return Weights(extension != "safetensors", stem.partition(".")[2])


def class_in_config(source: Source, folder: str = "") -> str:
    """Gives the diffusers class that a part's `config.json` names.

    Raises:
        ModelUnavailableError: There is no such file, or it names none.
        OutageError: As `Source`.
    """
    file = f"{folder}/{CONFIG}" if folder else CONFIG
    if file not in source.files():
        raise ModelUnavailableError(f"{source.name} holds no {file}; {source.remedy}")
    try:
        return str(json.loads(source.read(file))["_class_name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailableError(
            f"{file} of {source.name} names no class of diffusers ({error!r}); {source.remedy}"
        ) from error


def diffusers_class(name: str, base: str, found_in: str) -> Any:
    """Gives a class of diffusers by its name.

    Args:
        name: The class.
        base: Class of diffusers that it must be derived from, such as `DiffusionPipeline`.
        found_in: What names it, for the message.

    Raises:
        ModelUnavailableError: There is none, or it is something else.
    """
    import diffusers

    found = getattr(diffusers, name, None) if name in dir(diffusers) else None
    if not isinstance(found, type) or not issubclass(found, getattr(diffusers, base)):
        kind = {"DiffusionPipeline": "pipeline", "ModelMixin": "model"}[base]
        raise ModelUnavailableError(
            f"{found_in} names {name}, which is no {kind} of diffusers {diffusers.__version__}; name one, or "
            "install a newer diffusers"
        )
    return found


def _is_plain(file: str) -> bool:
    """Whether a file is configuration or vocabulary: small, and read by one of the libraries."""
    path = PurePosixPath(file)
    return path.suffix not in _OF_OTHER_FRAMEWORKS and not path.name.startswith(".")


def _what_it_is(source: Source, files: frozenset[str]) -> str:
    """Says what a source without an index holds, and what to do."""
    top = sorted(file for file in files if "/" not in file)
    if "modular_model_index.json" in files:
        return "it is a modular pipeline, which is not loaded yet; use the model in the ordinary layout"
    if LORA_FILE in files or "adapter_config.json" in files:
        return "it is a LoRA; name the model it was made for here, and this one under spec.model.adapters"
    if CONFIG in files:
        return _what_part(source)
    single = [file for file in top if weights_of(file) is not None]
    if single:
        return (
            f"it is a checkpoint in a single file ({single[0]}); convert it once with diffusers' "
            "from_single_file and save_pretrained, and name that folder"
        )
    inside = sorted(file for file in files if file.endswith(f"/{INDEX}"))
    if inside:
        return f"there is one in {inside[0].removesuffix(INDEX)}; name that folder"
    return (
        f"it holds {', '.join(top[:5]) or 'nothing'}, which is no model in diffusers' layout; {source.remedy}"
    )


def _what_part(source: Source) -> str:
    try:
        content = json.loads(source.read(CONFIG))
    except ValueError:
        content = {}
    name = str(content.get("_class_name", ""))
    if "ControlNet" in name or name in {"T2IAdapter", "MotionAdapter"}:
        return f"it is a {name}; name the model it was made for here, and this one under spec.model.adapters"
    if name.startswith("Autoencoder"):
        return f"it is a {name}; name the model it was made for here, and this one as spec.model.vae"
    what = name or ", ".join(map(str, content.get("architectures") or ())) or "a single network"
    return f"it is {what} and no pipeline; name a model in diffusers' layout"
