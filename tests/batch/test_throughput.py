"""Rates, quantiles and remaining times are what a person would work out."""

from __future__ import annotations

import pytest
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.progress import GpuSeconds, SecondsPerItem
from asyncdiff_runtime.batch.assignment import RankState
from asyncdiff_runtime.batch.throughput import (
    SAMPLE_SECONDS,
    WINDOW_SECONDS,
    Sample,
    Samples,
    items_per_second,
    quantiles,
    remaining_seconds,
    sampled,
    throughput_of,
)
from hypothesis import given
from hypothesis import strategies as st


def samples_of(rate: float, seconds: int, looks_per_second: int = 2) -> Samples:
    found: Samples = ()
    for look in range(seconds * looks_per_second):
        at = look / looks_per_second
        found = sampled(found, Sample(at, int(at * rate)))
    return found


@given(st.integers(1, 20), st.integers(20, 4000))
def test_a_steady_rate_is_found_whatever_the_time_and_the_samples_stay_few(rate: int, seconds: int) -> None:
    samples = samples_of(rate, seconds)
    assert items_per_second(samples) == pytest.approx(rate, rel=0.1)
    assert len(samples) <= WINDOW_SECONDS / SAMPLE_SECONDS * 1.2 + 3


def test_a_rate_follows_a_change_within_the_window() -> None:
    samples = samples_of(10, 1000)
    for second in range(400):
        samples = sampled(samples, Sample(1000.0 + second, 10000 + second))
    assert items_per_second(samples) == pytest.approx(1)


def test_there_is_no_rate_before_the_first_item() -> None:
    assert items_per_second(()) is None
    assert items_per_second(samples_of(0, 100)) is None


@pytest.mark.parametrize(
    ("total", "rate", "seconds"), [(None, 2.0, None), (20, None, None), (20, 2.0, 4.0), (12, None, 0.0)]
)
def test_the_rest_takes_its_items_at_the_rate(
    total: int | None, rate: float | None, seconds: float | None
) -> None:
    counts = ItemCounts(done=7, rejected=2, failed=1, duplicates=2)
    assert remaining_seconds(counts, total, rate) == seconds


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_quantiles_are_of_the_items(seconds: list[float]) -> None:
    found = quantiles(seconds)
    assert found is not None
    assert found.p50 in seconds
    assert found.p95 in seconds
    assert sum(second <= found.p50 for second in seconds) >= len(seconds) / 2
    assert sum(second <= found.p95 for second in seconds) >= len(seconds) * 0.95


def test_ranks_that_make_one_sample_count_it_once_and_their_gpus_all() -> None:
    leader = RankState(
        rank=0,
        items=ItemCounts(done=4),
        made=4,
        recent_seconds=(1.0, 2.0, 3.0, 10.0),
        milliseconds_per_step=20,
        gpu_seconds=GpuSeconds(load=1, generate=5),
    )
    follower = leader.model_copy(update={"rank": 1, "items": None})
    found = throughput_of({0: leader, 1: follower}, (Sample(0, 0), Sample(8, 4)))
    assert found.items_per_second == 0.5
    assert found.items_per_gpu_hour == 900
    assert found.seconds_per_item == SecondsPerItem(p50=2, p95=10)
    assert found.milliseconds_per_step == 20
    assert found.gpu_seconds == GpuSeconds(load=2, generate=10)
