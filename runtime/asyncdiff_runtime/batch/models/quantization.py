"""Weights in fewer bits, by diffusers' back ends."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.model import Quantization
from asyncdiff_api.wording import nearest

_MODULES: Final = {
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
    "quanto": "optimum.quanto",
    "torchao": "torchao",
    "modelopt": "modelopt",
    "auto-round": "auto_round",
    "nunchaku_lite": "kernels",
    "sdnq": "sdnq",
}
"""Module that a back end needs, by diffusers' name for it."""

_OF_FILES: Final = frozenset({"gguf", "bfl"})
"""Back ends that read weights that are quantized already, and so cannot be asked for."""

_BITS: Final[Mapping[str, Mapping[str, object]]] = {
    "bitsandbytes_4bit": {"load_in_4bit": True},
    "bitsandbytes_8bit": {"load_in_8bit": True},
}

_DENOISERS: Final = ("transformer", "unet")


def check_quantization(wanted: Quantization, components: Mapping[str, tuple[str, str]]) -> None:
    """Refuses a back end that is not here, and parts that the model does not have.

    Args:
        wanted: The job's wish.
        components: Library and class of each of the model's parts.

    Raises:
        InvalidJobError: It cannot be fulfilled; says what can.
    """
    module = _MODULES.get(wanted.backend)
    if wanted.backend in _OF_FILES:
        raise InvalidJobError(
            f"spec.model.quantization.backend is {wanted.backend}, which reads files that are quantized already; "
            f"choose one of {', '.join(_MODULES)}"
        )
    if module is None or wanted.backend not in _configurations():
        meant = nearest(wanted.backend, sorted(_MODULES))
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(_MODULES)}"
        raise InvalidJobError(
            f"spec.model.quantization.backend is {wanted.backend}, which diffusers does not have; {hint}"
        )
    if not _installed(module):
        raise InvalidJobError(
            f"spec.model.quantization.backend is {wanted.backend}, which needs the package {module}, and it is not "
            "installed here; use an image that has it (spec.pod.image), or leave quantization out"
        )
    for name in wanted.components:
        if name not in components:
            raise InvalidJobError(
                f"spec.model.quantization.components names {name}, and the model has {', '.join(components)}; "
                "correct it"
            )
    quantization_config(wanted, components)


def quantization_config(wanted: Quantization, components: Mapping[str, tuple[str, str]]) -> Any:
    """Gives diffusers' configuration for a whole pipeline.

    Raises:
        InvalidJobError: The back end does not take these options.
    """
    from diffusers import PipelineQuantizationConfig

    names = wanted.components or tuple(name for name in components if name.startswith(_DENOISERS))
    options = {**_BITS.get(wanted.backend, {}), **wanted.options}
    mapping = {}
    for name in names:
        kind = _configurations()[wanted.backend]
        if components[name][0] == "transformers":
            kind = _configurations_of_transformers().get(wanted.backend, kind)
        try:
            mapping[name] = kind(**options)
        except (TypeError, ValueError) as error:
            raise InvalidJobError(
                f"spec.model.quantization.options are not what {kind.__name__} takes ({error}); correct them"
            ) from error
    return PipelineQuantizationConfig(quant_mapping=mapping)


def _configurations() -> Mapping[str, Any]:
    from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    found: Mapping[str, Any] = AUTO_QUANTIZATION_CONFIG_MAPPING
    return found


def _configurations_of_transformers() -> Mapping[str, Any]:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    found: Mapping[str, Any] = AUTO_QUANTIZATION_CONFIG_MAPPING
    return found


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
