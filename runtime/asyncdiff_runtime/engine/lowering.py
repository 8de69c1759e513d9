"""What runs beneath the hook when a module is evaluated on this rank."""

import functools
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .call import Forward


class Compile(StrEnum):
    """How a denoiser's forward is run."""

    OFF = "off"
    """Eagerly, as the pipeline would."""
    AUTO = "auto"
    """Compiled by inductor, replayed as a CUDA graph on a GPU."""
    MAX_AUTOTUNE = "max-autotune"
    """The same with kernels chosen by measurement, at minutes of start-up."""


_MODES = {Compile.AUTO: "reduce-overhead", Compile.MAX_AUTOTUNE: "max-autotune"}


def lowered(forward: Forward, how: Compile) -> Forward:
    """The forward to call for a module's own `forward`."""
    if how is Compile.OFF:
        return forward
    compiled = torch.compile(forward, mode=_MODES[how], dynamic=False)

    # functools.wraps keeps the signature, by which arguments are told from each other.
    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        # A CUDA graph's outputs are overwritten by its next replay.
        return pytree.tree_map_only(Tensor, Tensor.clone, compiled(*args, **kwargs))

    return run
