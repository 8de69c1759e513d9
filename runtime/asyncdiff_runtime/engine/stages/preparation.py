"""From a captured graph to a program that runs in stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ..graph.capture import Captured
from ..graph.hoisting import Hoisted, hoist
from ..graph.lowerings import Lowerings
from ..graph.program import Program
from ..strategy import AsyncStages
from ..weights import Weights
from .cell import BoundSegments
from .choice import Division, division, timetable
from .links import Links
from .share import read_by, share
from .staged import Ranks, Solo, Staged, stage_of

_DENOISER = "denoiser."
"""What the captured graph calls the denoiser; companions have other names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Staging:
    """Makes programs that run in stages.

    Args:
        strategy: how graphs are cut and what is computed when.
        lowerings: how their parts and segments are lowered.
        held_bytes: most memory for values that are kept from one evaluation to the next.
        device: where this rank computes.
        links: to the ranks of the other stages; None if all of them are here.
    """

    strategy: AsyncStages
    lowerings: Lowerings
    held_bytes: int
    device: torch.device
    links: Links | None
    _divisions: dict[Weights, list[Division]] = field(default_factory=dict, init=False)

    def whole(self, captured: Captured) -> Staged:
        """The program of a graph whose weights are all here.

        Raises:
            LayoutError: the denoiser cannot be cut so.
            RanksDiverged: the ranks would cut it differently.
        """
        # What follows from the timestep is never handed from stage to stage, where it would be of an older evaluation.
        hoisted = hoist(captured, self.held_bytes)
        divided = division(captured, hoisted, self.strategy, self.device)
        return self._staged(captured, hoisted, divided, rehearsed=self.lowerings.exact)

    def share(self, captured: Captured, weights: Weights) -> Staged:
        """The program of a graph of which this rank holds what its stage needs.

        Raises:
            LayoutError: the denoiser cannot be cut so.
            PipelineRefused: a weight is nowhere.
            RanksDiverged: the ranks would cut it differently.
            RankFailed: another rank could not read its weights.
        """
        hoisted = hoist(captured, self.held_bytes)
        known = self._divisions.setdefault(weights, [])
        divided = division(captured, hoisted, self.strategy, self.device, known)
        known.append(divided)
        mine = share(hoisted, [divided.segments.parts[at] for at in self._here(divided)])
        if self.links is None:
            held = _read(captured, mine, weights)
        else:
            with self.links.failing_together("reading weights"):
                held = _read(captured, mine, weights)
        # To rehearse, a rank would have to run the segments of others.
        return self._staged(replace(captured, weights=held), mine, divided, rehearsed=True)

    def _staged(self, captured: Captured, hoisted: Hoisted, divided: Division, *, rehearsed: bool) -> Staged:
        fixed = {*captured.weights, *hoisted.constants.gives}
        program = Program(captured, hoisted, self.lowerings.of(hoisted.parts, fixed))
        bound = BoundSegments(
            divided.segments,
            program.lasting,
            lambda part, examples: self.lowerings.lowered(part, examples, fixed),
        )
        team = (
            Solo(bound)
            if self.links is None
            else Ranks(bound, self.links, circular=divided.cut.circular, rehearsed=rehearsed)
        )
        return Staged(
            captured,
            program,
            team,
            partial(timetable, self.strategy, divided.cut),
            time_shift=self.strategy.time_shift,
        )

    def _here(self, divided: Division) -> range:
        """The segments that this rank runs."""
        count = len(divided.segments.parts)
        if self.links is None:
            return range(count)
        stages = len(self.links.ranks)
        return range(stage_of(self.links.place, stages, circular=divided.cut.circular), count, stages)


def _read(captured: Captured, mine: Hoisted, weights: Weights) -> Mapping[str, Tensor]:
    """The weights that a share of a graph reads, by placeholder; others are let go.

    Raises:
        PipelineRefused: one is nowhere.
    """
    needed = {name: tensor for name, tensor in captured.weights.items() if name in read_by(mine)}
    paths = {
        name: captured.paths[name].removeprefix(_DENOISER)
        for name, tensor in needed.items()
        if isinstance(tensor, FakeTensor)
    }
    read = weights.read({path: needed[name] for name, path in paths.items()})
    return needed | {name: read[path] for name, path in paths.items()}
