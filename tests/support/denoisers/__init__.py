"""Denoisers of diffusers at tiny size, one of each class: real classes, seeded weights, nothing downloaded.

`TABLE` has a row for each class that can be captured, and `OTHERS` says of the rest why not; `exported()` gives all
classes that diffusers has, so that one that a later release brings is missed by nobody.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Final

import diffusers
from diffusers.models import transformers, unets
from torch import nn

from support.denoisers import flux_like, images, pipelined, sound, unet_rows, videos
from support.denoisers.others import OTHERS
from support.denoisers.row import Example, TinyDenoiser, table

TABLE: Final[Mapping[str, TinyDenoiser]] = table(
    [
        *pipelined.DENOISERS,
        *flux_like.DENOISERS,
        *images.DENOISERS,
        *sound.DENOISERS,
        *unet_rows.DENOISERS,
        *videos.DENOISERS,
    ]
)

__all__ = ["OTHERS", "TABLE", "Example", "TinyDenoiser", "exported"]


def exported() -> dict[str, str]:
    """The module of each class that diffusers exports from its folders of UNets and transformers, by name."""
    names = frozenset(dir(diffusers))
    return {
        name: kind.__module__
        for folder in (transformers, unets)
        for name, kind in inspect.getmembers(folder, inspect.isclass)
        if name in names and issubclass(kind, nn.Module) and kind.__module__.startswith(folder.__name__)
    }
