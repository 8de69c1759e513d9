"""From a captured graph to a program that runs in stages."""

from functools import partial

import torch

from ..graph.capture import Captured
from ..graph.hoisting import hoist
from ..graph.lowerings import Lowerings
from ..graph.program import Program
from ..strategy import AsyncStages
from .cell import BoundSegments
from .choice import division, timetable
from .links import Links
from .staged import Ranks, Solo, Staged


def staged(
    captured: Captured,
    *,
    strategy: AsyncStages,
    lowerings: Lowerings,
    held_bytes: int,
    device: torch.device,
    links: Links | None,
) -> Staged:
    """The program of a graph, in stages.

    Args:
        captured: the graph.
        strategy: how it is cut and what is computed when.
        lowerings: how its parts and segments are lowered.
        held_bytes: most memory for values that are kept from one evaluation to the next.
        device: where this rank computes.
        links: to the ranks of the other stages; None if all of them are here.

    Raises:
        LayoutError: the denoiser cannot be cut so.
        RanksDiverged: the ranks would cut it differently.
    """
    # What follows from the timestep is never handed from stage to stage, where it would be of an older evaluation.
    hoisted = hoist(captured, held_bytes)
    fixed = {*captured.weights, *hoisted.constants.gives}
    program = Program(captured, hoisted, lowerings.of(hoisted.parts, fixed))
    divided = division(captured, hoisted, strategy, device)
    bound = BoundSegments(
        divided.segments,
        program.lasting,
        lambda part, examples: lowerings.lowered(part, examples, fixed),
    )
    team = (
        Solo(bound)
        if links is None
        else Ranks(bound, links, circular=divided.cut.circular, rehearsed=lowerings.exact)
    )
    return Staged(
        captured,
        program,
        team,
        partial(timetable, strategy, divided.cut),
        time_shift=strategy.time_shift,
    )
