"""What an operation takes, as one number."""

from .cost import Cost

_FLOPS_A_BYTE = 100
"""Floating-point operations in the time of moving a byte: between CPUs (about 10) and GPUs (an H200: 200)."""


def work(cost: Cost) -> float:
    """The work of an operation in bytes moved: those it moves, or the time that its products take instead."""
    return max(cost.bytes, cost.flops / _FLOPS_A_BYTE)
