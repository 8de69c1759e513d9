"""Segments run by hand, and random lines to cut."""

from collections.abc import Sequence
from typing import Any

import torch
from asyncdiff_runtime.engine.graph.program import Program
from asyncdiff_runtime.engine.stages.segments import Segments
from asyncdiff_runtime.engine.stages.workload import Carried, Held, Workload
from hypothesis import strategies as st
from torch import Tensor


def one_by_one(program: Program, segments: Segments, tensors: Sequence[Tensor]) -> Any:
    """The output of segments that run one after the other; each is given nothing but what its edges name."""
    common = dict(program.lasting) | program.values(tensors)
    made: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for at, part in enumerate(segments.parts):
            handed = {value: made[source][value] for value, source in segments.sources[at].items()}
            reads = [handed[name] if name in handed else common[name] for name in part.reads]
            made.append(dict(zip(part.gives, part.module(*reads), strict=True)))
    return program.output(tuple(made[-1].values()))


@st.composite
def weights(draw: st.DrawFn, places: int) -> tuple[Held, ...]:
    """Weights that some of so many places read."""
    read = st.sets(st.integers(0, places - 1), min_size=1, max_size=3).map(lambda found: tuple(sorted(found)))
    return tuple(draw(st.lists(st.builds(Held, read, st.integers(1, 8)), min_size=1, max_size=6)))


@st.composite
def workloads(draw: st.DrawFn, most: int = 9) -> Workload:
    """Lines of a few operations, with values that reach over several of them."""
    count = draw(st.integers(4, most))
    seconds = tuple(draw(st.lists(st.integers(0, 20).map(float), min_size=count, max_size=count)))
    values = []
    for made in range(count - 1):
        read = draw(st.sets(st.integers(made + 1, count), min_size=1, max_size=3))
        values.append(Carried(made, tuple(sorted(read)), draw(st.integers(1, 8))))
    allowed = draw(st.sets(st.integers(1, count - 1), min_size=2))
    return Workload(seconds, tuple(values), tuple(sorted(allowed)))
