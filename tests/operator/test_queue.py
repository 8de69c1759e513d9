"""Laws of the work queue: one worker a key, nothing lost, nothing earlier than asked for, failures rest longer."""

from __future__ import annotations

import asyncio

import pytest
from asyncdiff_operator.queue import (
    JITTER,
    SPARE_ENTRIES,
    Agenda,
    Backoff,
    QueueClosedError,
    Work,
    WorkQueue,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

KEYS = st.sampled_from(("a", "b", "c"))
SECONDS = st.sampled_from((0.0, 0.5, 1.0, 10.0))
HEAD_START = 3.0
BACKOFF = Backoff(first_seconds=1.0, limit_seconds=8.0)


class AgendaAgainstItsRules(RuleBasedStateMachine):
    """Keeps for each key the plain facts, and holds the agenda to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.agenda: Agenda[str] = Agenda(BACKOFF, chance=lambda: 0.5)
        self.in_work: set[str] = set()
        self.wanted: dict[str, float] = {}
        self.turns: dict[str, float] = {}
        self.held_until: dict[str, float] = {}

    def want(self, key: str, due: float, head_start: float = 0.0) -> None:
        due = max(due, self.held_until.get(key, 0.0))
        turn = due if due > self.now else due - head_start
        self.turns[key] = min(turn, self.turns.get(key, float("inf"))) if key in self.wanted else turn
        self.wanted[key] = min(due, self.wanted.get(key, float("inf")))

    @rule(key=KEYS, after=SECONDS, head_start=st.sampled_from((0.0, HEAD_START)))
    def add(self, key: str, after: float, head_start: float) -> None:
        self.agenda.add(key, self.now, after, head_start)
        self.want(key, self.now + after, head_start)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        work = self.agenda.take(self.now)
        due = {key: at for key, at in self.wanted.items() if at <= self.now and key not in self.in_work}
        assert (work is None) == (not due)
        if work is None:
            return
        assert work.key not in self.in_work
        assert work.due_at == self.wanted.pop(work.key)
        assert self.turns[work.key] == min(self.turns[key] for key in due)
        assert work.due_at <= min(due.values()) + HEAD_START, "one that waits is passed for ever"
        self.held_until.pop(work.key, None)
        self.in_work.add(work.key)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        self.agenda.done(key)
        self.in_work.remove(key)

    @rule(key=KEYS, asked=st.sampled_from((0.0, 5.0)))
    def fail(self, key: str, asked: float) -> None:
        rest = min(2.0 ** self.agenda.failures(key), BACKOFF.limit_seconds)
        seconds = self.agenda.failed(key, self.now, asked)
        assert seconds == max(rest, asked)
        if asked:
            self.held_until[key] = self.now + asked
            self.wanted.pop(key, None)
        self.want(key, self.now + seconds)

    @rule(key=KEYS)
    def succeed(self, key: str) -> None:
        self.agenda.succeeded(key)
        assert self.agenda.failures(key) == 0

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.agenda.forget(key)
        self.wanted.pop(key, None)
        self.held_until.pop(key, None)

    @invariant()
    def it_says_when_to_come_again(self) -> None:
        waiting = [max(at, self.now) for key, at in self.wanted.items() if key not in self.in_work]
        found = self.agenda.next_due()
        assert (None if found is None else max(found, self.now)) == min(waiting, default=None)

    @invariant()
    def it_holds_little_more_than_what_is_wanted(self) -> None:
        assert self.agenda.entries() <= 2 * len(self.wanted) + SPARE_ENTRIES + len(self.in_work)

    @invariant()
    def it_counts_what_is_due(self) -> None:
        due = [at for at in self.wanted.values() if at <= self.now]
        assert self.agenda.depth(self.now) == len(due)
        assert self.agenda.oldest_seconds(self.now) == max((self.now - at for at in due), default=0.0)


TestAgenda = AgendaAgainstItsRules.TestCase


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_rest_doubles_up_to_its_limit_give_or_take_the_jitter(failures: int, chance: float) -> None:
    plain = min(BACKOFF.first_seconds * 2 ** min(failures - 1, 10), BACKOFF.limit_seconds)
    assert plain * (1 - JITTER) <= BACKOFF.seconds(failures, chance) <= plain * (1 + JITTER)


def test_a_key_with_a_head_start_passes_those_that_have_not_been_due_for_so_much_longer() -> None:
    agenda: Agenda[str] = Agenda(BACKOFF)
    agenda.add("old", 0.0)
    agenda.add("told", 1.0)
    agenda.add("later", 1.0, after_seconds=1.5, head_start_seconds=HEAD_START)
    agenda.add("new", 3.5, head_start_seconds=HEAD_START)
    agenda.add("told", 3.5, head_start_seconds=0.0)

    taken = [agenda.take(4.0) for _ in range(5)]

    assert taken == [Work("old", 0.0), Work("new", 3.5), Work("told", 1.0), Work("later", 2.5), None]


def test_a_worker_that_waits_gets_what_is_added_and_what_becomes_due() -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("later", 0.01)
        assert (await waiting).key == "later"
        queue.add("again")
        queue.add("later")
        assert (await queue.get()).key == "again"
        queue.done("later")
        assert (await queue.get()).key == "later"

    asyncio.run(scenario())


def test_many_workers_never_have_one_key_at_a_time() -> None:
    async def scenario() -> int:
        queue: WorkQueue[int] = WorkQueue()
        held: set[int] = set()
        looks = 0

        async def work() -> None:
            nonlocal looks
            while True:
                try:
                    key = (await queue.get()).key
                except QueueClosedError:
                    return
                assert key not in held
                held.add(key)
                await asyncio.sleep(0)
                held.remove(key)
                queue.done(key)
                looks += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(work())
            for number in range(600):
                queue.add(number % 3)
                if number % 7 == 0:
                    await asyncio.sleep(0)
            while queue.depth():
                await asyncio.sleep(0)
            queue.close()
        return looks

    assert asyncio.run(scenario()) >= 3


def test_a_closed_queue_hands_out_nothing() -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.close()
        with pytest.raises(QueueClosedError):
            await waiting
        queue.add("late")
        with pytest.raises(QueueClosedError):
            await queue.get()

    asyncio.run(scenario())


def test_a_deadline_days_ahead_leaves_nothing_behind_each_time_that_its_key_is_looked_at() -> None:
    agenda: Agenda[str] = Agenda(BACKOFF)
    for now in range(10_000):
        agenda.add("a", now, after_seconds=7 * 86_400.0)
        agenda.add("a", now)
        assert agenda.take(now) is not None
        agenda.done("a")
    assert agenda.entries() <= SPARE_ENTRIES + 2


def test_a_change_wakes_one_worker_however_many_wait() -> None:
    async def scenario() -> int:
        looks = 0

        def clock() -> float:
            nonlocal looks
            looks += 1
            return 0.0

        queue: WorkQueue[str] = WorkQueue(clock=clock)
        workers = [asyncio.create_task(queue.get()) for _ in range(32)]
        await asyncio.sleep(0)
        before = looks
        queue.add("a")
        await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):
            await asyncio.sleep(0)
        queue.close()
        await asyncio.gather(*workers, return_exceptions=True)
        return looks - before

    assert asyncio.run(scenario()) <= 4  # added, taken, and the next in line finds nothing


def test_every_waiting_worker_hears_that_the_queue_is_closed() -> None:
    async def scenario() -> list[object]:
        queue: WorkQueue[str] = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(32)]
        await asyncio.sleep(0)
        workers[3].cancel()
        queue.close()
        return await asyncio.gather(*workers, return_exceptions=True)

    ends = asyncio.run(scenario())
    assert [type(end) for end in ends].count(QueueClosedError) == 31
