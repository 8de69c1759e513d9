"""Seconds from costs: each kernel takes as long as its arithmetic or its traffic, whichever is longer.

S. Williams, A. Waterman, D. Patterson: Roofline, an insightful visual performance model, CACM 52(4), 2009.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch

from .cost import Cost
from .machines import Machine

FITTED_ON: Final = "H200"
"""The machine whose measurements the efficiencies were fitted to."""


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """Which part of a machine's peaks is had, and what a kernel costs besides.

    Attributes:
        arithmetic: share of the peak of products, convolutions and attention.
        memory: share of the memory's bandwidth.
        kernel_seconds: from the end of a kernel to when the next one is at full speed.
        host_seconds: that the host takes to start an operation; it may be what is waited for.
        spread: relative deviation within which measurements lay on the machine that was measured.
    """

    arithmetic: float
    memory: float
    kernel_seconds: float
    host_seconds: float
    spread: float


COMPILED: Final = Efficiency(arithmetic=0.65, memory=0.6, kernel_seconds=6e-6, host_seconds=0.0, spread=0.1)
"""Kernels of inductor in a CUDA graph. Fitted to five measurements on an H200: SDXL with 2 rows twice and with 1 row,
SD3 medium with 2 and FLUX.1 12B with 1, at 1024²; the largest deviation was 6.3 %."""

EAGER: Final = Efficiency(arithmetic=0.65, memory=0.6, kernel_seconds=2e-6, host_seconds=26e-6, spread=0.3)
"""Operations started one by one. The host's share was fitted to SDXL on one machine, where the GPU waited for it; a
slower or busier processor takes longer."""

ELSEWHERE: Final = (0.75, 1.5)
"""A machine that was not measured may be as much quicker or slower: smaller ones get nearer to their peaks, others have
less mature kernels."""


@dataclass(frozen=True)
class Span:
    """A prediction with what it may turn out to be.

    Attributes:
        low: seconds, if all goes well.
        expected: seconds.
        high: seconds, if not.
    """

    low: float
    expected: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, few: float, many: float | None = None) -> "Span":
        """As often as `few` says; the worst case as often as `many`."""
        return Span(self.low * few, self.expected * few, self.high * (few if many is None else many))


NOTHING: Final = Span(0.0, 0.0, 0.0)


def predicted(costs: Iterable[Cost], machine: Machine, dtype: torch.dtype, efficiency: Efficiency) -> Span:
    """Seconds that kernels take one after the other.

    Args:
        costs: of each kernel, or of each operation where each is one.
        machine: where they run.
        dtype: in which they compute.
        efficiency: what is had of the machine.

    Raises:
        KeyError: the machine does not compute in that type.
    """
    if dtype not in machine.flops:
        raise KeyError(f"{machine.name} does not compute in {str(dtype).removeprefix('torch.')}")
    flops, bandwidth = (
        machine.flops[dtype] * efficiency.arithmetic,
        machine.bandwidth * efficiency.memory,
    )
    device = host = 0.0
    for cost in costs:
        device += max(cost.flops / flops, cost.bytes / bandwidth) + efficiency.kernel_seconds
        host += efficiency.host_seconds
    seconds = max(device, host)
    quicker, slower = (1.0, 1.0) if machine.name == FITTED_ON else ELSEWHERE
    return Span(
        seconds * quicker * (1 - efficiency.spread), seconds, seconds * slower * (1 + efficiency.spread)
    )
