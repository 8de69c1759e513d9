"""Calls made ahead give their results in order, a few at a time, and errors where they belong."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from asyncdiff_runtime.batch.ahead import Ahead
from hypothesis import given
from hypothesis import strategies as st
from support.processes import wait_until


@given(st.integers(0, 30), st.integers(1, 5))
def test_results_come_in_the_order_of_their_calls(count: int, depth: int) -> None:
    with Ahead((partial(str, number) for number in range(count)), depth) as ahead:
        assert list(ahead) == [str(number) for number in range(count)]


def test_no_more_calls_are_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    with Ahead((partial(made.append, number) for number in range(100)), 3) as ahead:
        results = iter(ahead)
        next(results)
        next(results)
        wait_until(lambda: len(made) == 4, what="the calls ahead")
        assert len(made) <= 2 + 3
    assert len(made) <= 2 + 3


def test_what_is_ready_is_given_without_waiting() -> None:
    free = threading.Event()
    with Ahead([lambda: True, free.wait], 2) as ahead:
        assert wait_until(lambda: list(ahead.ready()), what="the first result") == [True]
        assert list(ahead.ready()) == []
        free.set()
        assert list(ahead) == [True]


def test_an_error_is_raised_where_its_result_is_taken() -> None:
    def broken() -> int:
        raise LookupError("gone")

    with Ahead([lambda: 1, broken], 2) as ahead:
        results = iter(ahead)
        assert next(results) == 1
        with pytest.raises(LookupError, match="gone"):
            next(results)
