"""Denoisers whose answers can be worked out on paper, in a pipeline of twenty lines."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


class ToyDenoiser(ModelMixin, ConfigMixin):
    """Answers `rule(sample, timestep, condition)`, and counts how often it was asked."""

    config_name = "config.json"  # type: ignore[assignment]  # -- diffusers declares None

    def __init__(self, rule: Rule) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # -- diffusers is untyped
        self.rule = rule
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked = 0

    def forward(self, sample: Tensor, timestep: Tensor, condition: Tensor, **_: Any) -> Any:
        self.asked += 1
        return (self.rule(sample, timestep, condition),)


class ToyPipeline(DiffusionPipeline):  # type: ignore[misc]  # -- diffusers is untyped
    """A bare sampling loop, with guidance in one batch, and callbacks as diffusers has them."""

    def __init__(self, unet: ToyDenoiser, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        steps: int = 10,
        seed: int = 0,
        batch: int = 2,
        condition: Tensor | None = None,
        on_step: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        self.scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(batch, 4, 8, 8, generator=generator) * self.scheduler.init_noise_sigma
        condition = torch.ones(batch, 4) if condition is None else condition
        for index, timestep in enumerate(self.scheduler.timesteps):
            x = self.scheduler.scale_model_input(latents, timestep)
            prediction = self.unet(x, timestep, condition=condition, return_dict=False)[0]
            latents = self.scheduler.step(prediction, timestep, latents, return_dict=False)[0]
            if on_step is not None:
                latents = on_step(index, latents)
        result: Tensor = latents
        return result


def straight_line(sample: Tensor, _timestep: Tensor, condition: Tensor) -> Tensor:
    """The same noise at every evaluation: the trajectory is a straight line in sigma."""
    pattern = torch.linspace(-1.0, 1.0, sample[0].numel()).reshape(sample[0].shape)
    return pattern.expand_as(sample) * condition.mean()


def curved(sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
    """A smooth function of everything it is given."""
    return torch.tanh(sample + condition.mean() * 0.1) * (0.5 + timestep.float() / 2000)


def mixing_rows(sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
    """Adds the batch's mean to each row, as no denoiser should."""
    return curved(sample, timestep, condition) + sample.mean(0, keepdim=True)


def toy(rule: Rule) -> ToyPipeline:
    """A pipeline around a rule, with an Euler sampler."""
    return ToyPipeline(ToyDenoiser(rule), EulerDiscreteScheduler())


class Layers(ModelMixin, ConfigMixin):
    """Three layers, the first of which also goes straight to the end."""

    config_name = "config.json"  # type: ignore[assignment]  # -- diffusers declares None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # -- diffusers is untyped
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second, self.third = (torch.nn.Linear(8, 8) for _ in range(3))

    def forward(self, sample: Tensor, timestep: Tensor, condition: Tensor, **_: Any) -> Any:
        shallow = self.shallow(sample, timestep)
        return (self.last(self.deep(shallow, timestep, condition), shallow),)

    def shallow(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return torch.tanh(self.first(sample) + timestep / 1000)

    def deep(self, shallow: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        return torch.tanh(self.second(shallow) * condition.mean() - timestep / 500)

    def last(self, deep: Tensor, shallow: Tensor) -> Tensor:
        made: Tensor = self.third(deep) + shallow
        return made


def layered() -> ToyPipeline:
    """A pipeline around three layers."""
    return ToyPipeline(Layers(), EulerDiscreteScheduler())  # type: ignore[arg-type]  # -- any denoiser serves
