"""Who has hung is told from signs of life alone, and told rightly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asyncdiff_api.formats.errors import WrongJobError
from asyncdiff_runtime.batch.heartbeat import Pulse, Stage
from asyncdiff_runtime.batch.watchdog import Hung, Patience, Watchdog
from hypothesis import given
from hypothesis import strategies as st

PATIENCE = Patience(shortest=60, start=600)
KNOWN = Pulse(
    alive=1,
    beat=1,
    longest_gap=1.0,
    longest_generation=1000.0,
    stage=Stage.KNOWN,
    generation=3,
    evaluation=7,
    evaluations=20,
)


def watch(seconds: float, *stages: dict[int, Pulse], together: bool = False) -> Watchdog:
    """A watchdog that has looked once a second; each stage, but the last, lasts a second."""
    dog = Watchdog(patience=PATIENCE, world=2, together=together).look(0, stages[0])
    now = 0.0
    for pulses in stages[1:]:
        now += 1
        dog = dog.look(now, pulses)
    while now < seconds:
        now += 1
        pulses = {rank: moving(pulse, now) for rank, pulse in stages[-1].items()}
        dog = dog.look(now, pulses)
    return dog


def moving(pulse: Pulse, now: float) -> Pulse:
    """The pulse a while later; the negative times of a pulse stand still."""
    return replace(
        pulse,
        alive=now if pulse.alive > 0 else pulse.alive,
        beat=now if pulse.beat > 0 else pulse.beat,
    )


STEADY = replace(KNOWN, longest_generation=1e6)
STOPPED = replace(KNOWN, alive=-1, beat=-1)
"""A process that does not run."""
STUCK = replace(KNOWN, beat=-1)
"""A process that runs, and whose work does not move on."""


def test_ranks_wait_for_each_other_longer_than_the_watchdog_waits_for_them() -> None:
    for patience in (Patience(), Patience(shortest=5000, start=10), PATIENCE):
        assert all(patience.of_group > patience.between_beats(pulse) for pulse in (Pulse(), KNOWN))
    assert Patience.of_environment({"WATCHDOG_START_SECONDS": "7200"}).of_group == 14400


def named(hung: Hung | None) -> int | None:
    return None if hung is None else hung.rank


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("other", [STOPPED, STUCK])
def test_a_silent_rank_is_named_after_the_limit_and_not_before(other: Pulse, together: bool) -> None:
    pulses = {0: KNOWN, 1: other}
    assert watch(60, pulses, together=together).verdict() is None
    assert named(watch(62, pulses, together=together).verdict()) == 1


def test_of_ranks_that_wait_for_each_other_the_one_that_does_not_run_is_named() -> None:
    verdict = watch(62, {0: replace(STUCK, evaluation=6), 1: STOPPED}, together=True).verdict()
    assert verdict is not None
    assert verdict.rank == 1
    assert "rank 1 has not run for 62 s at evaluation 7 of 20 of item fox" in verdict.message("fox")


def test_of_ranks_that_wait_for_each_other_the_one_furthest_behind_is_named() -> None:
    verdict = watch(62, {0: STUCK, 1: replace(STUCK, evaluation=6)}, together=True).verdict()
    assert named(verdict) == 1


def test_ranks_with_items_of_their_own_answer_for_themselves() -> None:
    assert named(watch(62, {0: STUCK, 1: replace(KNOWN, evaluation=1)}).verdict()) == 0


@pytest.mark.parametrize(("gap", "silence"), [(1.0, 60), (5.0, 100)])
def test_the_limit_is_learned_from_the_longest_silence_so_far(gap: float, silence: int) -> None:
    pulses = {0: KNOWN, 1: replace(STUCK, longest_gap=gap)}
    assert watch(silence, pulses).verdict() is None
    assert named(watch(silence + 2, pulses).verdict()) == 1


@pytest.mark.parametrize("stage", [Stage.APART, Stage.NEW])
def test_who_loads_or_compiles_is_waited_for_longer(stage: Stage) -> None:
    pulses = {0: KNOWN, 1: replace(STUCK, stage=stage)}
    assert watch(600, pulses).verdict() is None
    assert named(watch(602, pulses).verdict()) == 1


def test_a_rank_that_waits_for_its_leader_is_never_named() -> None:
    assert watch(2000, {0: STEADY, 1: replace(STUCK, stage=Stage.APART)}, together=True).verdict() is None


def test_a_leader_that_is_stuck_between_items_is_named_and_not_who_waits_for_it() -> None:
    waiting = replace(STUCK, stage=Stage.APART)
    leader = replace(STUCK, stage=Stage.APART, beat=100)
    dog = watch(90, {0: replace(KNOWN, stage=Stage.APART), 1: waiting}, together=True)
    for now in range(91, 800):
        dog = dog.look(now, {0: replace(leader, alive=now), 1: replace(waiting, alive=now)})
    assert named(dog.verdict()) == 0


def test_a_rank_that_does_not_follow_its_leader_into_a_generation_is_named() -> None:
    late = replace(STUCK, stage=Stage.APART, generation=2, evaluation=20)
    assert named(watch(62, {0: STUCK, 1: late}, together=True).verdict()) == 1


def test_a_rank_that_never_said_anything_is_named_in_the_end() -> None:
    assert watch(600, {0: KNOWN}).verdict() is None
    verdict = watch(602, {0: KNOWN}).verdict()
    assert named(verdict) == 1


def test_a_rank_that_has_ended_is_not_expected_to_live() -> None:
    assert watch(62, {0: KNOWN, 1: STOPPED}).verdict(ended={1}) is None


def test_an_item_that_takes_far_longer_than_its_like_ends_its_rank_although_it_moves_on() -> None:
    slow = replace(KNOWN, longest_generation=10.0)
    assert watch(100, {0: slow, 1: KNOWN}).verdict() is None
    verdict = watch(102, {0: slow, 1: KNOWN}).verdict()
    assert verdict is not None
    assert verdict.message("fox").startswith(
        "rank 0 has worked for 102 s at evaluation 7 of 20 of item fox, where 100"
    )


def test_time_in_which_nobody_ran_counts_for_nothing() -> None:
    dog = watch(50, {0: KNOWN, 1: STOPPED}).look(5000, {0: KNOWN, 1: STOPPED})
    assert dog.verdict() is None


@given(st.lists(st.sampled_from(["beat", "generation", "stage"]), min_size=1, max_size=50), st.booleans())
def test_whoever_gives_a_sign_of_life_within_the_limit_is_left_alone(
    signs: list[str], together: bool
) -> None:
    pulse, now = replace(KNOWN, longest_generation=1e9), 0.0
    dog = Watchdog(patience=PATIENCE, world=1, together=together).look(now, {0: pulse})
    for sign in signs:
        for _ in range(11):
            now += 5
            dog = dog.look(now, {0: replace(pulse, alive=now)})
            assert dog.verdict() is None
        pulse = replace(
            pulse,
            alive=now,
            beat=now if sign != "stage" else pulse.beat,
            generation=pulse.generation + (sign == "generation"),
            stage=Stage.APART if sign == "stage" and pulse.stage is Stage.KNOWN else Stage.KNOWN,
        )
        dog = dog.look(now, {0: pulse})


def test_limits_come_from_the_environment() -> None:
    environment = {"WATCHDOG_SECONDS": "7.5", "WATCHDOG_START_SECONDS": ""}
    assert Patience.of_environment(environment) == Patience(shortest=7.5)
    with pytest.raises(WrongJobError, match="WATCHDOG_SECONDS is 'soon'"):
        Patience.of_environment({"WATCHDOG_SECONDS": "soon"})
