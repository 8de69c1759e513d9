"""Parallel denoising of any diffusers pipeline: several ranks, one sample, the pipeline's own loop.

from asyncdiff_runtime.engine import Lookahead, parallelize

parallelize(pipe, Lookahead(degree=2))
image = pipe("a fox in the snow").images[0]  # on every rank, under torchrun
"""

from .errors import (
    CaptureRefused,
    EngineError,
    LayoutError,
    LookaheadRefused,
    PeerError,
    PipelineRefused,
    RankFailed,
    RanksDiverged,
    RankTimeout,
    Refused,
    SplitRefused,
)
from .graph.options import Capture, Lowering
from .lowering import Compile
from .parallelize import Parallel, parallelize, speed_up
from .report import Report
from .strategy import AsyncStages, Data, Exact, Lookahead, StageWeights, Strategy
from .weights import weightless

__all__ = [
    "AsyncStages",
    "Capture",
    "CaptureRefused",
    "Compile",
    "Data",
    "EngineError",
    "Exact",
    "LayoutError",
    "Lookahead",
    "LookaheadRefused",
    "Lowering",
    "Parallel",
    "PeerError",
    "PipelineRefused",
    "RankFailed",
    "RankTimeout",
    "RanksDiverged",
    "Refused",
    "Report",
    "SplitRefused",
    "StageWeights",
    "Strategy",
    "parallelize",
    "speed_up",
    "weightless",
]
