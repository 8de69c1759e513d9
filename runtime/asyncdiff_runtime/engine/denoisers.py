"""Which modules of a pipeline denoise, which are asked with them, and whether the engine can work beneath them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .errors import PipelineRefused
from .hook import HOOK_NAME, attached

DENOISER_NAMES = ("unet", "transformer", "transformer_2", "prior")
_COMPANION = "ControlNet"


@dataclass(frozen=True)
class Denoisers:
    """The modules of a pipeline that the engine answers for, by their names in it."""

    denoisers: dict[str, nn.Module]
    companions: dict[str, nn.Module]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Both kinds."""
        return {**self.companions, **self.denoisers}

    @classmethod
    def of(cls, pipe: Any, names: "str | Sequence[str] | None" = None) -> "Denoisers":
        """Finds the modules.

        Args:
            pipe: a diffusers pipeline.
            names: the denoisers' names in it; found if None.

        Raises:
            PipelineRefused: there is none of that name, or the engine cannot work beneath one.
        """
        modules = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
        if names is None:
            wanted: Sequence[str] = [name for name in DENOISER_NAMES if name in modules]
        else:
            wanted = [names] if isinstance(names, str) else list(names)
        unknown = [name for name in wanted if name not in modules]
        if unknown or not wanted:
            raise PipelineRefused(
                f"{type(pipe).__name__} has no denoiser {' or '.join(map(repr, unknown or DENOISER_NAMES))}; its "
                f"modules are {', '.join(modules)}. Name the one that is called at every timestep with denoiser=."
            )
        if not hasattr(getattr(pipe, "scheduler", None), "timesteps"):
            raise PipelineRefused(
                f"{type(pipe).__name__} has no scheduler with timesteps, so evaluations cannot be told apart."
            )
        found = cls(
            {name: modules[name] for name in wanted},
            {name: part for name, part in modules.items() if _COMPANION in type(part).__name__},
        )
        for name, module in found.modules.items():
            _check(name, module)
        return found


def _check(name: str, module: nn.Module) -> None:
    hooks = getattr(getattr(module, "_diffusers_hook", None), "hooks", {})
    foreign = [other for other in hooks if other != HOOK_NAME]
    compiled = hasattr(module, "_orig_mod") or module._compiled_call_impl is not None  # noqa: SLF001 -- the only sign
    refusals = {
        "is parallelised already. Call .restore() on what parallelize() gave first.": attached(module),
        "is compiled above the engine's hook. Pass it uncompiled, with parallelize(…, compile='auto').": compiled,
        "is offloaded by accelerate, whose hook moves weights at each call. Call pipe.remove_all_hooks() and "
        "pipe.to('cuda') in place of enable_model_cpu_offload() or a device map.": hasattr(
            module, "_hf_hook"
        ),
        f"carries diffusers hooks ({', '.join(foreign)}) that depend on the order of calls. Disable caching and "
        f"group offloading on it first.": bool(foreign),
    }
    for reason, applies in refusals.items():
        if applies:
            raise PipelineRefused(f"The pipeline's {name} {reason}")
