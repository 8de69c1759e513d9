"""Denoisers whose weights are not in memory: forms in their place, and values where they can be read from.

A denoiser without weights knows shapes, dtypes and device of all of them, which is enough to capture its graph. Whoever
runs a part of the graph reads the weights of that part.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from .errors import PipelineRefused

_NAME = "diffusion_pytorch_model"
"""Of weights' files, as diffusers saves them."""
_ATTRIBUTE = "_asyncdiff_weights"


class Weights:
    """A denoiser's weights by name.

    Args:
        held: those in memory.
        files: the safetensors file of each that can be read again.
    """

    # Without a dict, a module's fingerprint takes it for one thing.
    __slots__ = ("_files", "_held", "_wanted")

    def __init__(self, held: Mapping[str, Tensor], files: Mapping[str, Path]) -> None:
        self._held = dict(held)
        self._files = dict(files)
        self._wanted: set[str] = set()

    def read(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of some weights, which are held from then on; whatever was never wanted is let go.

        Args:
            wanted: by name, a tensor with the device and dtype that the weight is to have.

        Raises:
            PipelineRefused: the values of one are nowhere.
        """
        unknown = sorted(wanted.keys() - self._held.keys() - self._files.keys())
        if unknown:
            raise PipelineRefused(
                f"The value of the denoiser's {unknown[0]} is neither here nor in its files: it was let go since no "
                f"stage of this rank read it, or is no weight at all but made at the first call. Load the pipeline "
                f"again, or set weights='replicated'."
            )
        by_file: dict[Path, list[str]] = {}
        for name in wanted.keys() - self._held.keys():
            by_file.setdefault(self._files[name], []).append(name)
        for path, names in by_file.items():
            with safe_open(path, framework="pt") as file:
                for name in sorted(names):
                    # A copy: what is mapped from a file lies at any address, where other kernels may run.
                    self._held[name] = file.get_tensor(name).clone().to(wanted[name].dtype)
        for name, form in wanted.items():
            self._held[name] = self._held[name].to(form.device, form.dtype)
        self._wanted |= wanted.keys()
        self._held = {name: value for name, value in self._held.items() if name in self._wanted}
        return {name: self._held[name] for name in wanted}

    def release(self) -> None:
        """Lets go of what can be read again."""
        self._held = {name: value for name, value in self._held.items() if name not in self._files}


def weightless(
    kind: Any, folder: str | Path, *, dtype: torch.dtype | None = None, variant: str | None = None
) -> Any:
    """A denoiser that leaves its weights in their files, for `AsyncStages(…, weights="sharded")`.

    Pass it to the pipeline's `from_pretrained` under its name there. Each rank then reads from the files what its
    stage needs, and no rank ever holds all.

    Args:
        kind: its class, such as `diffusers.FluxTransformer2DModel`.
        folder: its own folder in the model's, with `config.json` and safetensors.
        dtype: of the weights; what the class keeps in float32 stays so. None: as the class has them.
        variant: of the files, as `from_pretrained` takes it; plain ones are read where there are none of it.

    Raises:
        PipelineRefused: files are missing, or have other weights than the class.
    """
    folder = Path(folder)
    files = _files_in(folder, variant)
    with init_empty_weights(include_buffers=False):
        module = kind.from_config(kind.load_config(str(folder), local_files_only=True))
    module.eval()
    missing = sorted(module.state_dict().keys() - files.keys())
    if missing:
        raise PipelineRefused(
            f"{folder} has no weight {missing[0]}, which a {kind.__name__} has: the files were saved by another "
            f"version of it. Load it whole, and save it again with save_pretrained."
        )
    kept = tuple(getattr(kind, "_keep_in_fp32_modules", None) or ())
    forms = {
        name: _form(weight, dtype, in_float32=any(part in name.split(".") for part in kept))
        for name, weight in module.state_dict().items()
    }
    weights = Weights({}, {name: files[name] for name in forms})
    persistent = {name: form for name, form in forms.items() if form.device.type != "meta"}
    for name, value in weights.read(persistent).items():
        owner, _, own = name.rpartition(".")
        setattr(module.get_submodule(owner), own, value)
    weights.release()
    _empty(module, weights, {name: form for name, form in forms.items() if name not in persistent})
    return module


def take_weights(module: nn.Module) -> Weights:
    """Takes a module's weights out of it, unless that was done; gives them."""
    found = weights_of(module)
    if found is None:
        parameters = dict(module.named_parameters(remove_duplicate=False))
        found = Weights({name: weight.detach() for name, weight in parameters.items()}, {})
        _empty(module, found, parameters)
    return found


def weights_of(module: nn.Module) -> Weights | None:
    """The weights that were taken out of a module; None if they are in it."""
    found = getattr(module, _ATTRIBUTE, None)
    assert found is None or isinstance(found, Weights)
    return found


def form_mode(module: nn.Module) -> FakeTensorMode:
    """The mode of torch in which a module without weights can be captured."""
    return next(weight.fake_mode for weight in module.parameters() if isinstance(weight, FakeTensor))


def _files_in(folder: Path, variant: str | None) -> dict[str, Path]:
    """The file of each weight in a folder: by its listing if it has one, else by looking into its only file."""
    for ending in (f".{variant}", "") if variant else ("",):
        listing = folder / f"{_NAME}.safetensors.index{ending}.json"
        if listing.is_file():
            content: dict[str, str] = json.loads(listing.read_text(encoding="utf-8"))["weight_map"]
            return {name: folder / file for name, file in content.items()}
        whole = folder / f"{_NAME}{ending}.safetensors"
        if whole.is_file():
            with safe_open(whole, framework="pt") as file:
                return dict.fromkeys(file.keys(), whole)
    raise PipelineRefused(f"{folder} has no weights as safetensors, which alone can be read one by one.")


def _form(weight: Tensor, dtype: torch.dtype | None, *, in_float32: bool) -> Tensor:
    """An empty tensor where the weight is, of the type that it is to have."""
    wanted = torch.float32 if in_float32 and dtype is not None else dtype
    return torch.empty_like(weight, dtype=wanted if weight.is_floating_point() else None)


def _empty(module: nn.Module, weights: Weights, forms: Mapping[str, Tensor]) -> None:
    """Puts forms in the places of a module's parameters."""
    _put(module, FakeTensorMode(allow_non_fake_inputs=True), forms, None)
    setattr(module, _ATTRIBUTE, weights)
    # Pipelines move their parts, and torch cannot move forms.
    module.__dict__["to"] = _Moving(module)
    module.register_forward_pre_hook(_refuse)


class _Moving:
    """A module's `to`, without weights to move."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Moves buffers, and says of weights that they will be there."""
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)  # noqa: SLF001 -- as torch's own `to`
        if dtype is not None:
            raise PipelineRefused("A denoiser without weights has the dtype that it was made with.")
        module = self._module
        forms = {
            name: weight
            for name, weight in module.named_parameters(remove_duplicate=False)
            if isinstance(weight, FakeTensor)
        }
        _put(module, form_mode(module), forms, device)
        for owner in module.modules():
            for name, buffer in owner.named_buffers(recurse=False):
                owner._buffers[name] = buffer.to(device)  # noqa: SLF001 -- where torch's own `to` puts it
        return module


def _put(
    module: nn.Module, mode: FakeTensorMode, forms: Mapping[str, Tensor], device: torch.device | None
) -> None:
    """Puts forms into a module; a weight that is in several places stays one."""
    made: dict[int, nn.Parameter] = {}
    for name, form in forms.items():
        if id(form) not in made:
            place = device or (torch.device("cpu") if form.device.type == "meta" else form.device)
            blank = torch.empty_strided(form.shape, form.stride(), dtype=form.dtype, device="meta")
            made[id(form)] = nn.Parameter(FakeTensor(mode, blank, place), requires_grad=False)
        owner, _, own = name.rpartition(".")
        module.get_submodule(owner)._parameters[own] = made[id(form)]  # noqa: SLF001 -- the only way past torch's copy


def _refuse(module: nn.Module, _: Any) -> None:
    if not hasattr(module, "_diffusers_hook"):  # by which the engine answers in its place
        raise PipelineRefused(
            f"The {type(module).__name__} has no weights: they were left in their files, or let go for "
            f"AsyncStages(…, weights='sharded'), which alone runs it so. Load the pipeline again."
        )
