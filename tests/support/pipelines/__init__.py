"""Pipelines of diffusers at tiny size, made in code: real classes, seeded weights, nothing downloaded.

`TABLE` has a row for each; a new pipeline is one more row. `tiny("sdxl").build()` gives a fresh one and
`tiny("sdxl").result(pipe, seed=1, batch=3)` its output. Pipelines can be copied, and saved
to a folder and loaded again.
"""

from __future__ import annotations

from typing import Final

from support.pipelines import (
    controlnet,
    flux,
    image_transformers,
    sd3,
    sdxl,
    stable_diffusion,
    video_transformers,
    video_unets,
    wan,
)
from support.pipelines.row import PROMPTS, Calling, TinyPipeline, quiet, tensor
from support.pipelines.schedulers import FLOW, FLOW_GIVEN_SIGMAS, NOISE, SCHEDULERS, SECOND_ORDER, STOCHASTIC

TABLE: Final[tuple[TinyPipeline, ...]] = (
    *stable_diffusion.ROWS,
    *sdxl.ROWS,
    *controlnet.ROWS,
    *video_unets.ROWS,
    *sd3.ROWS,
    *flux.ROWS,
    *image_transformers.ROWS,
    *wan.ROWS,
    *video_transformers.ROWS,
)

__all__ = [
    "FLOW",
    "FLOW_GIVEN_SIGMAS",
    "NOISE",
    "PROMPTS",
    "SCHEDULERS",
    "SECOND_ORDER",
    "STOCHASTIC",
    "TABLE",
    "Calling",
    "TinyPipeline",
    "quiet",
    "tensor",
    "tiny",
]


def tiny(name: str) -> TinyPipeline:
    """The row of that name."""
    rows = {row.name: row for row in TABLE}
    if name not in rows:
        raise KeyError(f"there is no tiny pipeline {name!r}; there are {', '.join(rows)}")
    return rows[name]
