"""Denoisers that take their latents as a list with a tensor for each row, asked as others are: by one tensor.

Z-Image's transformer takes and gives lists, since its rows may differ in size. In a pipeline's batch they do not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def stackable(value: Any) -> bool:
    """Whether a value is a list of tensors of one form, so that one tensor can stand for them."""
    if not isinstance(value, list | tuple) or not all(isinstance(row, Tensor) for row in value):
        return False
    return len({(row.shape, row.dtype, row.device) for row in value}) == 1


@dataclass(frozen=True)
class Stacked:
    """A forward that takes rows as a list and gives them as one, made to take and give them in one tensor.

    Attributes:
        forward: the module's, beneath the engine's hook.
        latent: name of the argument that carries the list.
    """

    forward: Callable[..., Any]
    latent: str

    def __call__(self, **arguments: Any) -> Any:
        """The forward's output with each list of rows, as `(batch, …)`."""
        output = self.forward(**{**arguments, self.latent: list(arguments[self.latent].unbind(0))})
        return pytree.tree_map(
            lambda leaf: torch.stack(leaf) if stackable(leaf) else leaf, output, is_leaf=stackable
        )


def listed(output: Any) -> Any:
    """An output of `Stacked` with each of its tensors as a list of rows again."""
    return pytree.tree_map_only(Tensor, lambda rows: list(rows.unbind(0)), output)
