"""Seconds of each operation of a captured graph, and of each byte between two ranks."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..graph.capture import Captured
from ..graph.cost import costs
from ..graph.kernels import kernels
from ..graph.machines import MACHINES, Machine, machine
from ..graph.roofline import COMPILED, FITTED_ON, Efficiency, predicted
from ..graph.work import work


@dataclass(frozen=True)
class Pace:
    """How quick ranks and the links between them are taken to be.

    Attributes:
        machine: of each rank.
        dtype: in which it computes.
        efficiency: which part of its peaks is had.
        link_share: part of a link's peak that is had.
    """

    machine: Machine
    dtype: torch.dtype
    efficiency: Efficiency = COMPILED
    link_share: float = 0.7

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype) -> "Pace":
        """That of a device; one that is not known counts as the machine that was measured."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        known = (one for one in MACHINES if one.name.split()[0].lower() in name.lower().split())
        found = next(known, machine(FITTED_ON))
        return cls(found, dtype if dtype in found.flops else torch.float32)

    @property
    def seconds_per_byte(self) -> float:
        """Of what one rank sends another."""
        return 1.0 / (self.machine.link * self.link_share)


def seconds(captured: Captured, pace: Pace) -> Mapping[str, float]:
    """Seconds of each operation by its name; one that runs in a kernel with others has its share of it."""
    found = costs(captured)
    spent: dict[str, float] = {}
    for kernel in kernels(captured, found):
        span = predicted([kernel.cost], pace.machine, pace.dtype, pace.efficiency)
        shares = [work(found[node]) for node in kernel.nodes]
        for node, share in zip(kernel.nodes, shares, strict=True):
            spent[node.name] = span.expected * share / sum(shares)
    return spent
