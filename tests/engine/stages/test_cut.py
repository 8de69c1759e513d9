"""The cut is the best there is, the same on every rank, and says when a name means nothing."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import inf

import pytest
from asyncdiff_runtime.engine.errors import LayoutError
from asyncdiff_runtime.engine.stages.cut import Cut, best_cut
from asyncdiff_runtime.engine.stages.line import Line
from asyncdiff_runtime.engine.stages.paths import cut_at, first_places
from asyncdiff_runtime.engine.stages.seconds import Pace, seconds
from asyncdiff_runtime.engine.stages.workload import Carried, Workload, stage_seconds, workload
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import Graph, graph_of
from support.segments import weights, workloads


def every_cut(
    load: Workload, stages: int, period: int, per_byte: float, *, circular: bool, most: float = inf
) -> list[float]:
    """The slowest stage of every cut of a kind of which no stage reads more than so many bytes of weights."""
    found = []
    for boundaries in combinations(load.boundaries, stages if circular else stages - 1):
        if circular and not any(
            value.made < boundaries[0] and value.read[-1] >= boundaries[-1] for value in load.values
        ):
            continue
        if max(weights_of_stages(load, boundaries, stages)) > most:
            continue
        found.append(
            max(stage_seconds(load, boundaries, circular=circular, period=period, seconds_per_byte=per_byte))
        )
    return found


def weights_of_stages(load: Workload, boundaries: Sequence[int], stages: int) -> list[int]:
    """Bytes of the weights of each stage."""
    read = [{bisect_right(boundaries, place) % stages for place in weight.read} for weight in load.weights]
    return [
        sum(weight.bytes for weight, by in zip(load.weights, read, strict=True) if stage in by)
        for stage in range(stages)
    ]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), load=workloads(), stages=st.integers(2, 4))
def test_no_cut_within_a_limit_of_weights_is_better(data: st.DataObject, load: Workload, stages: int) -> None:
    load = replace(load, weights=data.draw(weights(load.end)))
    most = data.draw(st.integers(1, sum(weight.bytes for weight in load.weights)))
    circles = every_cut(load, stages, 1, 0.1, circular=True, most=most)
    chains = every_cut(load, stages, 1, 0.1, circular=False, most=most)
    found = best_cut(load, stages, seconds_per_byte=0.1, most_weight_bytes=most)
    if not circles and not chains:
        assert found is None
        return
    assert found is not None
    assert max(weights_of_stages(load, found.boundaries, stages)) <= most
    assert max(found.seconds) == pytest.approx(min(circles if found.circular else chains))


@settings(max_examples=150, deadline=None)
@given(
    load=workloads(),
    stages=st.integers(2, 4),
    period=st.integers(1, 3),
    per_byte=st.sampled_from([0.0, 0.1, 1.0, 5.0]),
)
def test_no_cut_is_better(load: Workload, stages: int, period: int, per_byte: float) -> None:
    circles = every_cut(load, stages, period, per_byte, circular=True)
    chains = every_cut(load, stages, period, per_byte, circular=False)
    found = best_cut(load, stages, period=period, seconds_per_byte=per_byte)
    if not circles and not chains:
        assert found is None
        return
    assert found is not None
    assert max(found.seconds) == pytest.approx(min(circles if found.circular else chains))
    if circles and chains:
        assert found.circular == (min(circles) <= 1.05 * min(chains) + 1e-9)
    assert found == best_cut(load, stages, period=period, seconds_per_byte=per_byte)


def test_a_skip_over_everything_makes_a_circle_and_none_makes_a_chain() -> None:
    steps = tuple(Carried(at, (at + 1,), 1) for at in range(9))
    skip = Carried(0, (9,), 100)
    circle = best_cut(Workload((1.0,) * 10, (*steps, skip), tuple(range(1, 10))), 2, seconds_per_byte=0.01)
    chain = best_cut(Workload((1.0,) * 10, steps, tuple(range(1, 10))), 2, seconds_per_byte=0.01)
    assert circle is not None
    assert chain is not None
    assert circle.circular
    assert circle.boundaries[0] >= 1
    assert (chain.circular, chain.boundaries) == (False, (5,))


def test_a_stage_that_is_refreshed_half_as_often_has_twice_the_work() -> None:
    load = Workload((1.0,) * 30, (Carried(0, (29,), 1),), tuple(range(1, 30)))
    found = best_cut(load, 2, period=2)
    assert found is not None
    first, last = found.boundaries
    assert last - first == 20
    assert found.seconds == (10.0, 10.0)


@pytest.fixture(scope="module")
def unet() -> Graph:
    return graph_of("sd15")


@pytest.fixture(scope="module")
def laid(unet: Graph) -> Line:
    return unet.line


@pytest.fixture(scope="module")
def load(unet: Graph, laid: Line) -> Workload:
    tensor = unet.tensors()[0]
    return workload(laid, seconds(unet.captured, Pace.of(tensor.device, tensor.dtype)))


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_a_unet_is_a_circle_of_even_stages(load: Workload, stages: int) -> None:
    found = best_cut(load, stages, seconds_per_byte=1e-12)
    assert found is not None
    assert found.circular
    assert found.balance > 0.95


def test_a_published_cut_is_named_by_its_modules(laid: Line, load: Workload) -> None:
    found = cut_at(laid, load, ["down_blocks.1", "up_blocks.0.resnets.1"])
    assert found == Cut(found.boundaries, True, found.seconds)
    places = first_places(laid)
    assert found.boundaries == (places["down_blocks.1"], places["up_blocks.0.resnets.1"])
    chain = cut_at(laid, load, ["conv_in", "mid_block"])
    assert (chain.circular, chain.stages) == (False, 2)


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["mid_blok"], "names 'mid_blok', .* the nearest are mid_block"),
        (["time_embedding", "mid_block"], "names 'time_embedding', and nothing .* depends on the latent"),
        (["mid_block", "down_blocks.1"], "names 'mid_block' before 'down_blocks.1', which begins no later"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(
    laid: Line, load: Workload, paths: list[str], sentence: str
) -> None:
    with pytest.raises(LayoutError, match=sentence):
        cut_at(laid, load, paths)
