"""Sizes that all pipelines share, and the images and masks that some of them are given."""

from __future__ import annotations

from typing import Any, Final

import torch

SIDE: Final = 32
"""Pixels a side of an image."""

LATENT: Final = {"output_type": "latent"}
SIZE: Final = {"height": SIDE, "width": SIDE}


def pictures(batch: int, *, seed: int = 7, side: int = SIDE) -> torch.Tensor:
    """Images (batch, 3, side, side) with values from 0 to 1, each sample its own."""
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def masks(batch: int, *, side: int = SIDE) -> torch.Tensor:
    """Masks (batch, 1, side, side): one in the middle, where the image is to be made again."""
    mask = torch.zeros(batch, 1, side, side)
    quarter = side // 4
    mask[:, :, quarter:-quarter, quarter:-quarter] = 1
    return mask


def image(batch: int) -> dict[str, Any]:
    """The argument `image`, one for each sample."""
    return {"image": pictures(batch)}


def image_and_mask(batch: int) -> dict[str, Any]:
    """The arguments `image` and `mask_image`."""
    return {"image": pictures(batch), "mask_image": masks(batch)}
