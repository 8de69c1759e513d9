"""The schedulers that pipelines are run with, each made from the configuration of the one it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import diffusers

Scheduler = Any
Factory = Callable[[Mapping[str, Any]], Scheduler]


def _of(name: str, **options: Any) -> Factory:
    def make(config: Mapping[str, Any]) -> Scheduler:
        return getattr(diffusers, name).from_config(dict(config), **options)

    return make


_NOISE: Final[Mapping[str, Factory]] = {
    "ddim": _of("DDIMScheduler"),
    "ddpm": _of("DDPMScheduler"),
    "euler": _of("EulerDiscreteScheduler"),
    "euler-ancestral": _of("EulerAncestralDiscreteScheduler"),
    "dpm++": _of("DPMSolverMultistepScheduler", algorithm_type="dpmsolver++"),
    "dpm++sde": _of("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
    "unipc": _of("UniPCMultistepScheduler"),
    "heun": _of("HeunDiscreteScheduler"),
    "kdpm2": _of("KDPM2DiscreteScheduler"),
    "lcm": _of("LCMScheduler"),
}
_FLOW: Final[Mapping[str, Factory]] = {
    "flow-euler": _of("FlowMatchEulerDiscreteScheduler"),
    "flow-heun": _of("FlowMatchHeunDiscreteScheduler"),
    "flow-unipc": _of("UniPCMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True),
    "flow-dpm++": _of("DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True),
}
_OWN: Final[Mapping[str, Factory]] = {"cogvideo-ddim": _of("CogVideoXDDIMScheduler")}
SCHEDULERS: Final[Mapping[str, Factory]] = MappingProxyType({**_NOISE, **_FLOW, **_OWN})
"""Makes the scheduler of that name from another's configuration: `SCHEDULERS["heun"](pipe.scheduler.config)`."""

NOISE: Final = tuple(_NOISE)
"""Names of the schedulers of models that predict noise or velocity on a variance-preserving path."""

FLOW: Final = tuple(_FLOW)
"""Names of the schedulers of flow models."""

FLOW_GIVEN_SIGMAS: Final = ("flow-euler", "flow-unipc")
"""Those that take their sigmas from the pipeline, as FLUX and most of its kin ask."""

STOCHASTIC: Final = ("ddpm", "euler-ancestral", "dpm++sde", "lcm")
"""Those that draw noise at each step."""

SECOND_ORDER: Final = ("heun", "kdpm2", "flow-heun")
"""Those that evaluate the denoiser twice a step."""


def noise_scheduler(name: str = "ddim", **options: Any) -> Scheduler:
    """A scheduler with Stable Diffusion's noise table of 1000 timesteps."""
    stable_diffusion = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "epsilon",
    }
    return SCHEDULERS[name](stable_diffusion | options)


def flow_scheduler(**options: Any) -> Scheduler:
    """A FlowMatchEulerDiscreteScheduler with a shift of 3 unless `options` say otherwise."""
    return diffusers.FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | options))
