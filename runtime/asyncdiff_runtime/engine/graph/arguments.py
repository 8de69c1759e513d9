"""What a graph can be told about the arguments of a call."""

import types
from enum import Enum

import numpy as np
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import CaptureRefused
from ..request import Request
from .fingerprint import PLAIN

_WITHOUT_TENSORS = (*PLAIN, np.generic, Enum, type, types.FunctionType, types.BuiltinFunctionType)
"""What an argument may be beside a tensor: a value that cannot change unseen."""


def refuse_objects(request: Request) -> None:
    """Makes sure that every argument is a tensor or a plain value.

    Another object may hold tensors, as caches of keys and values do: the graph would take those of this call for
    constants, and leave in the object what was written to it while the graph was made.

    Raises:
        CaptureRefused: there is such an object; the message names the argument and its class.
    """
    for call in request.calls:
        for path, leaf in pytree.tree_flatten_with_path(dict(call.arguments))[0]:
            if not isinstance(leaf, (Tensor, *_WITHOUT_TENSORS)):
                raise CaptureRefused(
                    f"The denoiser cannot be captured as a graph: its argument {pytree.keystr(path)} is a "
                    f"{type(leaf).__name__}, which may hold tensors that nobody would see change."
                )
