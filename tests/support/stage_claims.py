"""What a rank does in the tests of a team of stages: fails as it makes ready, and notes what it sends."""

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from unittest.mock import patch

from asyncdiff_runtime.engine import AsyncStages, EngineError, parallelize
from asyncdiff_runtime.engine.graph.lowering import Lowered, eager
from asyncdiff_runtime.engine.graph.lowerings import Lowerings
from asyncdiff_runtime.engine.graph.parts import Part
from asyncdiff_runtime.engine.stages.links import Links
from torch import Tensor

from .generations import Array
from .toy import layered


def failing_rehearsal(rank: int, _world: int, strategy: AsyncStages, culprit: int) -> tuple[str, Array]:
    """A stage cannot be made ready on one rank, once; the next generation has to be right."""
    pipe, caught, due = layered(), "", [rank == culprit]

    def lower(part: Part, examples: Sequence[Tensor], _: Collection[str]) -> Lowered:
        if due.pop() if due else False:
            raise MemoryError("the device is full")
        return eager(part, examples)

    def seldom(part: Part, examples: Sequence[Tensor], _: Collection[str]) -> Lowered:
        return eager(part, examples)

    # What is not exact is rehearsed, as compiled segments are.
    lowerings = Lowerings(lower, seldom, exact=False)
    module = sys.modules[parallelize.__module__]
    with patch.object(module, "lowering_for", lambda *_, **__: lowerings), parallelize(pipe, strategy):
        try:
            pipe(steps=3)
        except (MemoryError, EngineError) as error:
            caught = f"{type(error).__name__}: {error}"
        return caught, pipe(steps=3, seed=2).numpy()


def sends(_rank: int, _world: int, strategy: AsyncStages, steps: int) -> list[tuple[str, int]]:
    """What this rank sends in a generation, and where it waits for what it sent: `("sent", 3)`, `("waited", 1)`.

    Numbers count messages, from 0. What is only waited for at the end is left out.
    """
    pipe = layered()
    found: list[tuple[str, int]] = []
    swap, wait = Links.swap, Links.wait

    def swapping(self: Links, sending: Mapping[int, Tensor], receiving: Mapping[int, Tensor]) -> Any:
        works = swap(self, sending, receiving)
        if sending:
            found.append(("sent", sum(kind == "sent" for kind, _ in found)))
        return works

    def waiting(self: Links, works: Any, about: str) -> None:
        if about.startswith("sending"):
            found.append(("waited", sum(kind == "waited" for kind, _ in found)))
        wait(self, works, about)

    with parallelize(pipe, strategy), patch.multiple(Links, swap=swapping, wait=waiting):
        pipe(steps=steps)
        return list(found)
