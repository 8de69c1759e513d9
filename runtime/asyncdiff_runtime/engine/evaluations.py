"""The table of evaluations: for every visit of a timestep, its noise level and the coordinates of its input.

`scheduler.sigmas` cannot be used as it is: DDIM and LCM have none, and on KDPM2 every other evaluation
happens at an interpolated level. The table is made anew for each generation from the scheduler as the
pipeline has just set it; the scheduler is only read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .errors import LookaheadRefused


class Coordinates(StrEnum):
    """How a denoiser's input depends on the noise level σ."""

    VARIANCE_EXPLODING = "variance-exploding"
    """x = (x₀ + σ·noise) / √(1 + σ²); times √(1 + σ²) it is a straight line in σ for a fixed prediction."""
    FLOW = "flow"
    """x = (1 − σ)·x₀ + σ·noise, with σ in [0, 1]; it is a straight line in σ already."""


class Prediction(StrEnum):
    """What a denoiser predicts; the names are those of diffusers' `prediction_type`."""

    NOISE = "epsilon"
    VELOCITY = "v_prediction"
    SAMPLE = "sample"
    FLOW = "flow_prediction"


@dataclass(frozen=True)
class Evaluations:
    """The noise level of each evaluation of a generation, and what the denoiser's tensors mean there."""

    sigmas: tuple[float, ...]
    coordinates: Coordinates
    prediction: Prediction
    stochastic: bool
    """The scheduler adds fresh noise at each step, so that no later input can be foretold."""

    def input_scale(self, index: int) -> float:
        """What the latent part of the input at evaluation `index` is multiplied by to be linear in σ."""
        if self.coordinates is Coordinates.FLOW:
            return 1.0
        return float((1.0 + self.sigmas[index] ** 2) ** 0.5)


_ALIGNED = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
)
_INTERPOLATED = ("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
_BY_ALPHA = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "LCMScheduler",
    "TCDScheduler",
    "PNDMScheduler",
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
)
_ALWAYS_STOCHASTIC = (
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverSDEScheduler",
    "SASolverScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "LCMScheduler",
    "TCDScheduler",
    "FlowMatchLCMScheduler",
    "CogVideoXDPMScheduler",
)


def _aligned_sigmas(scheduler: Any) -> list[float]:
    return [float(sigma) for sigma in scheduler.sigmas[: len(scheduler.timesteps)]]


def _interpolated_sigmas(scheduler: Any) -> list[float]:
    first, second = scheduler.sigmas, scheduler.sigmas_interpol
    return [float((second if index % 2 else first)[index]) for index in range(len(scheduler.timesteps))]


def _sigmas_by_alpha(scheduler: Any) -> list[float]:
    alphas = scheduler.alphas_cumprod[scheduler.timesteps.long().cpu()].double()
    return [float(sigma) for sigma in ((1 - alphas) / alphas).sqrt()]


_SIGMAS: Sequence[tuple[tuple[str, ...], Callable[[Any], list[float]]]] = (
    (_ALIGNED, _aligned_sigmas),
    (_INTERPOLATED, _interpolated_sigmas),
    (_BY_ALPHA, _sigmas_by_alpha),
)


def known_schedulers() -> tuple[str, ...]:
    """Class names of the schedulers whose evaluations can be foretold."""
    return tuple(name for names, _ in _SIGMAS for name in names)


def evaluations(scheduler: Any) -> Evaluations:
    """Gives the table of the generation for which `scheduler` has just been set.

    Raises:
        LookaheadRefused: the scheduler's class or its prediction type is not known to the table.
    """
    names = [parent.__name__ for parent in type(scheduler).__mro__]
    sigmas_of = next((reader for known, reader in _SIGMAS if any(name in known for name in names)), None)
    if sigmas_of is None:
        raise LookaheadRefused(
            f"Lookahead predicts the inputs of later evaluations from their noise levels, and those of "
            f"{names[0]} are not known. Use Exact(), or one of: {', '.join(known_schedulers())}."
        )
    flow = names[0].startswith("FlowMatch") or bool(scheduler.config.get("use_flow_sigmas"))
    declared = "flow_prediction" if flow else scheduler.config.get("prediction_type", "epsilon")
    if declared not in tuple(Prediction):
        raise LookaheadRefused(
            f"{names[0]} is set to prediction_type={declared!r}; lookahead knows {', '.join(Prediction)}. Use Exact()."
        )
    return Evaluations(
        sigmas=tuple(sigmas_of(scheduler)),
        coordinates=Coordinates.FLOW if flow else Coordinates.VARIANCE_EXPLODING,
        prediction=Prediction(declared),
        stochastic=_is_stochastic(scheduler, names),
    )


def _is_stochastic(scheduler: Any, names: Sequence[str]) -> bool:
    if any(name in _ALWAYS_STOCHASTIC for name in names):
        return True
    config = scheduler.config
    return bool(config.get("stochastic_sampling")) or "sde" in str(config.get("algorithm_type", ""))
