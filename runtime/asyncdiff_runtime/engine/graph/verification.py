"""Whether a program gives what the modules give."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import CaptureRefused
from ..rounding import distance

_REPEATED = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""How far a denoiser's output may lie from its own when the same operations run again by other kernels, relative."""

_FUSED = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 2e-1}
"""Likewise when operations are fused, so that what lies between them is not rounded. A deep denoiser magnifies that:
FLUX in bfloat16 with random weights comes to 8e-2."""


def verify(made: Any, expected: Any, *, exact: bool) -> None:
    """Compares a program's output with that of the modules for the same request.

    Args:
        made: the program's.
        expected: the modules'.
        exact: the program runs the very operations of the modules, so that full precision has to agree to the bit on a
            CPU.

    Raises:
        CaptureRefused: they differ by more than rounding explains; the message says how far.
    """
    leaves, tree = pytree.tree_flatten(expected)
    found, structure = pytree.tree_flatten(made)
    if structure != tree or [_form(leaf) for leaf in found] != [_form(leaf) for leaf in leaves]:
        raise CaptureRefused(
            f"The captured denoiser gives {[_form(leaf) for leaf in found]} in place of "
            f"{[_form(leaf) for leaf in leaves]}, so that it is not used."
        )
    for ours, theirs in zip(found, leaves, strict=True):
        apart, allowed = distance(ours, theirs), _allowed(theirs, exact=exact)
        if not apart <= allowed:
            raise CaptureRefused(
                f"The captured denoiser's output lies {apart:.1e} from that of its modules, relative, where "
                f"rounding explains {allowed:.0e}, so that it is not used. What its modules do depends on more "
                f"than their arguments and attributes."
            )


def _allowed(expected: Tensor, *, exact: bool) -> float:
    # A GPU's libraries choose among kernels anew, so that not even a module agrees with itself to the bit.
    if exact and expected.device.type == "cpu" and expected.dtype in (torch.float32, torch.float64):
        return 0.0
    return (_REPEATED if exact else _FUSED).get(expected.dtype, 0.0)


def _form(leaf: Any) -> Any:
    return (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf
