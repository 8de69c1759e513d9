"""How a program's parts are lowered on a device."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .bundle import Store
from .cuda_graphs import Replays, cuda_recorder
from .inductor import Inductor
from .lowering import Lower, Lowered, eager
from .options import Lowering
from .parts import Part


@dataclass(frozen=True, eq=False)
class Lowerings:
    """How the parts of a rank's programs are lowered; one for all of them, whose CUDA graphs share memory.

    Only the part that depends on the latent is worth compiling: it is nearly all of the work, and runs at every
    evaluation. What the others give is kept from one evaluation or picture to the next.

    Attributes:
        latent: lowers that part, given the names of values that stay the same tensors.
        exact: a lowered part gives what the modules give, bit for bit.
    """

    latent: Callable[[Part, Sequence[Tensor], Collection[str]], Lowered]
    exact: bool

    def of(self, latent: Part, fixed: Collection[str]) -> Lower:
        """The lowering of one program's parts.

        Args:
            latent: its part that depends on the latent.
            fixed: names of values that stay the same tensors: weights, and what follows from them alone.
        """

        def lower(part: Part, examples: Sequence[Tensor]) -> Lowered:
            return self.latent(part, examples, fixed) if part is latent else eager(part, examples)

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
        return Lowerings(Replays(inductor, cuda_recorder(device)).lowered, exact=False)
    return Lowerings(_anywhere(inductor), exact=False)


def _anywhere(lower: Lower) -> Callable[[Part, Sequence[Tensor], Collection[str]], Lowered]:
    """A lowering for which it does not matter which values stay the same tensors."""
    return lambda part, examples, _: lower(part, examples)
