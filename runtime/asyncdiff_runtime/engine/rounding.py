"""How far two results of the same computation lie apart."""

import torch
from torch import Tensor


def distance(made: Tensor, expected: Tensor) -> float:
    """The relative distance ‖made − expected‖ / ‖expected‖; infinities and not-a-number are equal to their like."""
    same = (made == expected) | (made.isnan() & expected.isnan())
    if bool(same.all()):
        return 0.0
    apart = torch.where(same, 0.0, made.double() - expected.double())
    return float(apart.norm() / expected.double().nan_to_num(0.0, 0.0, 0.0).norm().clamp_min(1e-30))
