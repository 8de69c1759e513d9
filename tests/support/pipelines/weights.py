"""Random weights that show mistakes: seeded, nowhere zero, of a size that keeps activations near one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Final

import torch

_SPREAD_OF_VECTORS: Final = 0.1


def seeded(make: Callable[[], Any], seed: int) -> Any:
    """The torch module that `make` builds, in eval mode, every parameter drawn anew from `seed`.

    A model's own initialisation leaves the last convolution, AdaLN modulations and ControlNet's joints at zero, so
    that a wrong timestep or a lost residual would change nothing. Here matrices are normal with variance 1 / fan-in,
    norm scales lie around one, biases around zero. The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Chroma and FLUX's ControlNet import it from where diffusers itself no longer wants it.
        warnings.filterwarnings("ignore", "`FluxPosEmbed` is deprecated", FutureWarning)
        module = make()
    redraw(module, seed)
    return module.eval().requires_grad_(False)


@torch.no_grad()
def redraw(module: torch.nn.Module, seed: int) -> None:
    """Draws every parameter of the module again, in the order of their names."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        if parameter.ndim > 1:
            fan_in = math.prod(parameter.shape[1:])
            parameter.normal_(0.0, 1 / math.sqrt(fan_in), generator=generator)
        else:
            center = 1.0 if name.endswith(("weight", "gamma")) else 0.0
            parameter.normal_(center, _SPREAD_OF_VECTORS, generator=generator)
