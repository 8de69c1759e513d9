"""How a denoiser is captured, as a user asks for it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..errors import LayoutError


class Lowering(StrEnum):
    """How a captured graph is run."""

    EAGER = "eager"
    """Its operations one by one, as the modules would: the same result to the bit."""
    INDUCTOR = "inductor"
    """Compiled by torch's inductor, replayed as a CUDA graph on a GPU; other last bits."""
    MAX_AUTOTUNE = "max-autotune"
    """The same with kernels chosen by measurement, at minutes of start-up."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What to do with the denoiser's graph.

    Attributes:
        lowering: how it is run.
        strict: a denoiser that cannot be captured is an error; else its modules evaluate it, with a warning.
        programs: graphs that are kept, the ones used last; each size, batch, branch and set of adapters takes one.
        held_bytes: most memory of each graph for what is kept from one evaluation to the next.
        cache: folder of compiled parts, for later processes; None keeps none. What is in it is run as code.
    """

    lowering: Lowering = Lowering.EAGER
    strict: bool = False
    programs: int = 8
    held_bytes: int = 1 << 30
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.programs < 1:
            raise LayoutError(f"Capture(programs={self.programs}) keeps no graph; keep at least 1.")
        if self.held_bytes < 0:
            raise LayoutError(f"Capture(held_bytes={self.held_bytes}) is a size in bytes; it is at least 0.")

    @classmethod
    def of(cls, wanted: "Capture | str") -> "Capture":
        """What is meant by a lowering's name alone.

        Raises:
            LayoutError: there is no lowering of that name.
        """
        if isinstance(wanted, Capture):
            return wanted
        if wanted not in tuple(Lowering):
            raise LayoutError(f"capture={wanted!r} is no lowering; there are {', '.join(Lowering)}.")
        return cls(lowering=Lowering(wanted))
