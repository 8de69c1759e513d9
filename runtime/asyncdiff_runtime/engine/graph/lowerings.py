"""How a program's parts are lowered on a device."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .bundle import Store
from .cuda_graphs import Replays, cuda_recorder
from .dependence import Dependence
from .inductor import Inductor
from .lowering import Lower, Lowered, eager
from .options import Lowering
from .parts import Part


@dataclass(frozen=True, eq=False)
class Lowerings:
    """How the parts of a rank's programs are lowered; one for all of them, whose CUDA graphs share memory.

    Attributes:
        lowered: lowers a part, given the names of values that stay the same tensors.
        exact: a lowered part gives what the modules give, bit for bit.
        apart: classes of values that get a part of their own.
        compiled: classes whose part is worth being lowered; what runs seldom on a CPU is not.
    """

    lowered: Callable[[Part, Sequence[Tensor], Collection[str]], Lowered]
    exact: bool
    apart: Collection[Dependence] = frozenset(Dependence)
    compiled: Collection[Dependence] = frozenset({Dependence.LATENT})

    def of(self, parts: Mapping[Dependence, Part], fixed: Collection[str]) -> Lower:
        """The lowering of one program's parts.

        Args:
            parts: the program's.
            fixed: names of values that stay the same tensors: weights, and what follows from them alone.
        """
        compiled = [parts[kind] for kind in self.compiled]

        def lower(part: Part, examples: Sequence[Tensor]) -> Lowered:
            return self.lowered(part, examples, fixed) if part in compiled else eager(part, examples)

        return lower


def lowering_for(device: torch.device, how: Lowering, cache: Path | None) -> Lowerings:
    """The lowering for a device.

    Args:
        device: where the denoiser is.
        how: `EAGER` gives the modules' own operations, the others what inductor makes of them; on a GPU, these are
            replayed as CUDA graphs.
        cache: folder of compiled parts, kept for later processes. It is trusted like code: see `Store`.
    """
    if how is Lowering.EAGER:
        return Lowerings(_anywhere(eager), exact=True)
    inductor = Inductor(how, None if cache is None else Store.opened(cache))
    if device.type == "cuda":
        lowered = Replays(inductor, cuda_recorder(device)).lowered
        return Lowerings(lowered, exact=False, apart=_ON_GPU, compiled=_ON_GPU - {Dependence.WEIGHTS})
    return Lowerings(_anywhere(inductor), exact=False)


_ON_GPU = frozenset({Dependence.WEIGHTS, Dependence.GENERATION, Dependence.LATENT})
"""What follows from the timestep is hundreds of small kernels, and without waiting for a GPU nothing proves that a
timestep has come again. They cost least where they are recorded and fused with the rest."""


def _anywhere(lower: Lower) -> Callable[[Part, Sequence[Tensor], Collection[str]], Lowered]:
    """A lowering for which it does not matter which values stay the same tensors."""
    return lambda part, examples, _: lower(part, examples)
