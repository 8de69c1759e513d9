"""Laws of an allowance: never more than it gives, and never less."""

from __future__ import annotations

from asyncdiff_operator.allowance import Allowance
from hypothesis import given
from hypothesis import strategies as st

# In eighths, so that sums of times are exact.
PAUSES = st.lists(st.integers(0, 80).map(lambda eighths: eighths / 8), max_size=60)


def uses(pauses: list[float], at_once: int, seconds_each: float) -> list[float]:
    """The moments at which it was used by someone who asks after each pause."""
    now, used = 0.0, []
    allowance = Allowance(at_once=at_once, seconds_each=seconds_each, now=now)
    for pause in pauses:
        now += pause
        if allowance.rest_seconds(now) == 0:
            allowance.use(now)
            used.append(now)
    return used


@given(pauses=PAUSES, at_once=st.integers(1, 5), seconds_each=st.sampled_from((0.5, 1.0, 4.0)))
def test_no_time_sees_more_uses_than_come_at_once_and_are_gained_in_it(
    pauses: list[float], at_once: int, seconds_each: float
) -> None:
    used = uses(pauses, at_once, seconds_each)

    for first, begin in enumerate(used):
        for last, end in enumerate(used[first:], first):
            assert last - first + 1 <= at_once + (end - begin) / seconds_each


@given(at_once=st.integers(1, 5), seconds_each=st.sampled_from((0.5, 1.0, 4.0)), total=st.integers(1, 20))
def test_the_rest_that_it_names_is_the_shortest_that_will_do(
    at_once: int, seconds_each: float, total: int
) -> None:
    allowance, now = Allowance(at_once=at_once, seconds_each=seconds_each, now=0.0), 0.0
    for _ in range(total):
        now += allowance.rest_seconds(now)
        assert allowance.rest_seconds(now) == 0
        allowance.use(now)

    assert now == max(0, total - at_once) * seconds_each


@given(pauses=PAUSES)
def test_what_costs_no_seconds_is_always_allowed(pauses: list[float]) -> None:
    assert len(uses(pauses, at_once=1, seconds_each=0.0)) == len(pauses)
