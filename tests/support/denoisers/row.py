"""What a row of the table of tiny denoisers says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import diffusers
import torch
from torch import Tensor, nn

from support.denoisers.shrinking import WIDTH, shrunk
from support.pipelines.weights import seeded
from support.requests import tensor

ROWS: Final = 2
"""Of the batch."""
WORDS: Final = 7
"""Of a prompt."""

Arguments = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Example:
    """A denoiser, and the arguments of one of its calls by parameter name."""

    module: nn.Module
    arguments: Arguments


class TinyDenoiser(Protocol):
    """A denoiser class of diffusers at tiny size."""

    @property
    def name(self) -> str:
        """The class's name."""

    def example(self) -> Example:
        """A fresh denoiser with seeded weights, in eval mode, and one call."""


@dataclass(frozen=True)
class Row:
    """A denoiser whose configuration is the class's own, shrunk by rule, with what the rule does not know."""

    name: str
    latent: tuple[int, ...]
    """Shape of the latent."""

    given: tuple[str, ...] = ()
    """Further arguments, by names in `TYPICAL`."""

    config: Arguments = field(default_factory=dict)
    """What differs from the rule; None takes the class's own default."""

    arguments: Callable[[], Arguments] = dict
    """Arguments that are not typical."""

    latent_name: str = "hidden_states"
    timestep_name: str = "timestep"

    def example(self) -> Example:
        """The denoiser and one call."""
        kind = getattr(diffusers, self.name)
        settings = {**shrunk(kind), **self.config}
        config = {name: value for name, value in settings.items() if value is not None}
        module = seeded(lambda: kind(**config), seed=len(self.name))
        flags = (
            {"return_dict": False} if "return_dict" in inspect.signature(module.forward).parameters else {}
        )
        arguments = {
            self.latent_name: tensor(1, *self.latent),
            self.timestep_name: TYPICAL["timestep"](),
            **{name: TYPICAL[name]() for name in self.given},
            **self.arguments(),
            **flags,
        }
        return Example(module, arguments)


def prompts(words: int = WORDS, width: int = WIDTH) -> Tensor:
    """Embedded prompts, `(rows, words, width)`."""
    return tensor(2, ROWS, words, width)


def positions(*sizes: int, axes: int) -> Tensor:
    """Places of tokens on a grid, `(tokens, axes)`; the grid's are the last axes, and the others are 0."""
    grid = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))
    return torch.cat([torch.zeros(len(grid), axes - len(sizes), dtype=grid.dtype), grid], dim=1)


def mask(words: int = WORDS) -> Tensor:
    """Which words count, `(rows, words)`: all of the first prompt, and all but two of the second."""
    found = torch.ones(ROWS, words, dtype=torch.bool)
    found[-1, -2:] = False
    return found


TYPICAL: Final[Mapping[str, Callable[[], Any]]] = MappingProxyType(
    {
        "timestep": lambda: torch.full((ROWS,), 700.0),
        "encoder_hidden_states": prompts,
        "encoder_attention_mask": mask,
        "encoder_hidden_states_mask": mask,
        "attention_mask": mask,
        "pooled_projections": lambda: tensor(3, ROWS, WIDTH),
        "guidance": lambda: torch.full((ROWS,), 3.5),
        "img_ids": lambda: positions(4, 4, axes=3).float(),
        "txt_ids": lambda: torch.zeros(WORDS, 3),
        "class_labels": lambda: torch.tensor([3, 5]),
    }
)


def table(rows: Sequence[TinyDenoiser]) -> Mapping[str, TinyDenoiser]:
    """The rows by class.

    Raises:
        ValueError: a class has several.
    """
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"there is more than one row for {', '.join(twice)}")
    return MappingProxyType({row.name: row for row in rows})
