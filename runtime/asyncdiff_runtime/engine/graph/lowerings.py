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

LowerFixed = Callable[[Part, Sequence[Tensor], Collection[str]], Lowered]
"""Lowers a part, given the names of values that stay the same tensors."""


@dataclass(frozen=True, eq=False)
class Lowerings:
    """How the parts of a rank's programs are lowered; one for all of them, whose CUDA graphs share memory.

    Only the part that depends on the latent is worth compiling: it is nearly all of the work, and runs at every
    evaluation. Others are hundreds of small operations, which take longer to compile than they ever run.

    Attributes:
        lowered: lowers what depends on the latent.
        seldom: lowers what depends on the prompt or the timestep alone.
        exact: a lowered part gives what the modules give, bit for bit.
        apart: classes of values that get a part of their own.
    """

    lowered: LowerFixed
    seldom: LowerFixed
    exact: bool
    apart: Collection[Dependence] = frozenset(Dependence)

    def of(self, parts: Mapping[Dependence, Part], fixed: Collection[str]) -> Lower:
        """The lowering of one program's parts.

        Args:
            parts: the program's.
            fixed: names of values that stay the same tensors: weights, and what follows from them alone.
        """

        def lower(part: Part, examples: Sequence[Tensor]) -> Lowered:
            if part is parts[Dependence.WEIGHTS]:
                return eager(part, examples)
            chosen = self.lowered if part is parts[Dependence.LATENT] else self.seldom
            return chosen(part, examples, fixed)

        return lower


def lowering_for(
    device: torch.device, how: Lowering, cache: Path | None, *, recordings: int = 4
) -> Lowerings:
    """The lowering for a device.

    Args:
        device: where the denoiser is.
        how: `EAGER` gives the modules' own operations, the others what inductor makes of them; on a GPU, these are
            replayed as CUDA graphs.
        cache: folder of compiled parts, kept for later processes. It is trusted like code: see `Store`.
        recordings: CUDA graphs that are kept, the ones used last.
    """
    plainly = _anywhere(eager)
    if how is Lowering.EAGER:
        return Lowerings(plainly, plainly, exact=True)
    inductor = Inductor(how, None if cache is None else Store.opened(cache))
    if device.type == "cuda":
        record = cuda_recorder(device)
        compiled, recorded = (Replays(lower, record, recordings) for lower in (inductor, eager))
        return Lowerings(compiled.lowered, recorded.lowered, exact=False, apart=_ON_GPU)
    return Lowerings(_anywhere(inductor), plainly, exact=False)


_ON_GPU = frozenset({Dependence.WEIGHTS, Dependence.GENERATION, Dependence.LATENT})
"""What follows from the timestep is hundreds of small kernels, and without waiting for a GPU nothing proves that a
timestep has come again. They cost least where they are recorded and fused with the rest."""


def _anywhere(lower: Lower) -> LowerFixed:
    """A lowering for which it does not matter which values stay the same tensors."""
    return lambda part, examples, _: lower(part, examples)
