"""What a row of the table of tiny pipelines says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

PROMPTS: Final = (
    "a red fox in deep snow",
    "two boats at dawn, oil on canvas",
    "a green teapot, studio light",
)
"""What batches are asked for, one prompt a sample; a longer batch starts over."""

Pipeline = Any
"""A diffusers.DiffusionPipeline; diffusers carries no types."""

Arguments = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TinyPipeline:
    """A pipeline class of diffusers at tiny size, and how to call it."""

    name: str
    family: str
    """Which model it is a form of: `sd`, `sdxl`, `sd3`, `flux`, `wan` …"""

    build: Callable[[], Pipeline]
    """A fresh pipeline: seeded weights, eval mode, float32 on CPU, no progress bar."""

    call: Callable[..., Arguments]
    """`call(seed=0, batch=1, steps=6, guidance=None, **overrides)`: the pipeline's keyword arguments."""

    denoisers: tuple[str, ...]
    """The pipeline's attributes that predict, in the order of their first evaluation."""

    companions: tuple[str, ...] = ()
    """Attributes that are run before a denoiser and whose results it reads: ControlNets, adapters."""

    schedulers: tuple[str, ...]
    """Names in SCHEDULERS that the pipeline runs with, its own among them."""

    branches: int
    """How often the denoiser is called at one evaluation, at the default guidance; the most where that varies."""

    varying: bool = False
    """Whether some evaluations take fewer calls than `branches`."""

    rows: int
    """Rows of the denoiser's batch for each sample: 2 where guidance doubles the batch."""

    guided: bool
    """Whether the default guidance takes more than one prediction a sample."""

    notes: str = ""
    """What is peculiar: parts of the input that stay the same, scaled timesteps, calls that skip."""

    def result(self, pipe: Pipeline, **call: Any) -> torch.Tensor:
        """Runs the pipeline as `call(**call)` says and gives its output, float32 on CPU, one sample a row.

        The global generator, from which some pipelines draw in passing, is seeded too and left as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(call.get("seed", 0))
            return tensor(pipe(**self.call(**call))[0])


def tensor(output: Any) -> torch.Tensor:
    """A pipeline's output as one float32 tensor: latents, arrays, or lists of either."""
    if isinstance(output, torch.Tensor):
        return output.detach().to("cpu", torch.float32)
    if isinstance(output, np.ndarray):
        return torch.from_numpy(output).float()
    return torch.stack([tensor(part) for part in output])


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Makes the keyword arguments of a pipeline's call; its instances are the `call` of a row."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that are the same at every call: height, width, output_type …"""

    guidance: Mapping[str, float] = field(default_factory=dict)
    """The argument that `guidance` sets, and its default."""

    negative: bool = True
    """Whether a negative prompt is given for each sample."""

    prompted: bool = True
    """Whether prompts are given."""

    embed: Callable[[Sequence[str]], torch.Tensor] | None = None
    """Makes prompts into the embeddings that are given in their place; None gives the prompts themselves."""

    inputs: Callable[[int], Mapping[str, Any]] = lambda _: {}
    """Images and masks for a batch of that many samples."""

    def __call__(
        self, seed: int = 0, batch: int = 1, steps: int = 6, guidance: float | None = None, **overrides: Any
    ) -> Arguments:
        arguments: Arguments = {
            "num_inference_steps": steps,
            "generator": torch.Generator().manual_seed(seed),
            **self.fixed,
            **self.inputs(batch),
        }
        if self.prompted:
            arguments["prompt"] = [PROMPTS[sample % len(PROMPTS)] for sample in range(batch)]
        if self.prompted and self.negative:
            arguments["negative_prompt"] = ["blurry, low quality"] * batch
        for name, default in self.guidance.items():
            arguments[name] = default if guidance is None else guidance
        return self._embedded(arguments | overrides)

    def _embedded(self, arguments: Arguments) -> Arguments:
        if self.embed is None:
            return arguments
        texts = {name: arguments.pop(name) for name in ("prompt", "negative_prompt") if name in arguments}
        return arguments | {f"{name}_embeds": self.embed(prompts) for name, prompts in texts.items()}


def quiet(pipe: Pipeline) -> Pipeline:
    """The pipeline without its progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe
