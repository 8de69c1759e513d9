"""Answers of the storage before they are needed, so that nobody waits for them one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Makes calls on threads, a few ahead of whoever takes the results, which come in order.

    To be used as a context, by one thread. What a call raises is raised where its result is taken.
    """

    def __init__(self, calls: Iterable[Callable[[], T]], depth: int) -> None:
        """Prepares; the first calls are made when the first result is asked for.

        Args:
            calls: What is to be called; taken one by one, by the thread that takes results.
            depth: Calls made at once, and results held at most.
        """
        self._calls = iter(calls)
        self._depth = depth
        self._pool = ThreadPoolExecutor(depth, thread_name_prefix="ahead")
        self._waiting: deque[Future[T]] = deque()

    def __iter__(self) -> Iterator[T]:
        """Gives the results that are left, waiting for each."""
        while self._fill():
            yield self._waiting.popleft().result()

    def ready(self) -> Iterator[T]:
        """Gives the results that are there already."""
        while self._fill() and self._waiting[0].done():
            yield self._waiting.popleft().result()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _fill(self) -> bool:
        """Makes calls up to the depth; gives whether any result is to come."""
        while len(self._waiting) < self._depth and (call := next(self._calls, None)) is not None:
            self._waiting.append(self._pool.submit(call))
        return bool(self._waiting)


def one_ahead(results: Iterator[T]) -> Iterator[T]:
    """Gives what an iterator gives, the next one made on a thread meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, results, None)
        while (found := coming.result()) is not None:
            coming = pool.submit(next, results, None)
            yield found


def announced(batches: Iterator[T], tell: Callable[[T], None]) -> Iterator[T]:
    """Gives batches, each next one told before the one at hand; what taking it raises comes after that one."""
    coming, error = next(batches, None), None
    while coming is not None:
        at_hand = coming
        try:
            coming = next(batches, None)
        except Exception as raised:  # noqa: BLE001 -- whatever it is, the batch at hand is made first
            coming, error = None, raised
        if coming is not None:
            tell(coming)
        yield at_hand
    if error is not None:
        raise error
