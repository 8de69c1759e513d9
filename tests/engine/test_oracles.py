"""The engine on denoisers whose answers can be worked out on paper."""

from collections.abc import Callable

import numpy as np
import pytest
from asyncdiff_runtime.engine import Data, Exact, Lookahead, parallelize
from support import generations
from support.generations import Plan
from support.ranks import Ranks
from support.toy import curved, mixing_rows, straight_line, toy

Group = Callable[[int], Ranks]


def test_on_a_straight_line_every_foretold_evaluation_is_right() -> None:
    pipe = toy(straight_line)
    plain = pipe(steps=12)
    with parallelize(pipe, Lookahead(degree=4, warmup=2, exact_tail=0)) as parallel:
        looked_ahead = pipe(steps=12)
    report = parallel.report
    assert report is not None
    assert np.allclose(plain, looked_ahead, rtol=1e-5, atol=1e-4)
    assert (report.accepted, report.rejected, report.critical_path) == (7, 0, 5)
    assert max(m for m in report.mismatch[:-1] if m is not None) < 1e-3


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_with_tolerance_zero_lookahead_is_sequential_bit_for_bit(degree: int) -> None:
    pipe = toy(curved)
    plain = pipe()
    with parallelize(pipe, Lookahead(degree=degree, tolerance=0.0)) as parallel:
        assert np.array_equal(pipe(), plain)
    report = parallel.report
    assert report is not None
    assert report.accepted == 0
    assert report.critical_path == report.evaluations


@pytest.mark.parametrize(("warmup", "tail"), [(1, 0), (1, 1), (2, 2), (3, 1), (4, 0), (9, 9)])
def test_warmup_and_tail_count_exact_evaluations(warmup: int, tail: int) -> None:
    pipe = toy(straight_line)
    with parallelize(pipe, Lookahead(degree=2, tolerance=1.0, warmup=warmup, exact_tail=tail)) as parallel:
        pipe(steps=10)
    report = parallel.report
    assert report is not None
    assert all(mismatch is None for mismatch in report.mismatch[:warmup])
    assert all(mismatch is None for mismatch in report.mismatch[10 - tail :])
    assert report.accepted == max(0, 10 - warmup - tail) // 2


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_give_bit_for_bit_what_one_process_gives(ranks: Group, world: int) -> None:
    strategy = Lookahead(degree=world, tolerance=0.5, warmup=2, exact_tail=1)
    plan = Plan(strategy, ({"seed": 0, "steps": 9}, {"seed": 1, "steps": 12, "batch": 3}))
    alone = generations.of_toy(0, 1, "curved", plan)
    for answers in ranks(world).run(generations.of_toy, "curved", plan):
        for answer, expected in zip(answers, alone, strict=True):
            assert np.array_equal(answer.output, expected.output)
            assert (answer.report and answer.report.mismatch) == (
                expected.report and expected.report.mismatch
            )


def test_lookahead_and_split_multiply(ranks: Group) -> None:
    strategy = Lookahead(degree=2, tolerance=0.5, warmup=2, exact_tail=1)
    calls = ({"steps": 9, "batch": 2},)
    (alone,) = generations.of_toy(0, 1, "curved", Plan(strategy, calls, (("guidance_split", True),)))
    for (answer,) in ranks(4).run(generations.of_toy, "curved", Plan(strategy, calls)):
        assert np.array_equal(answer.output, alone.output)
        assert answer.report is not None
        assert alone.report is not None
        assert answer.report.accepted == alone.report.accepted > 0


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("strategy", [Exact(), Data()], ids=["exact", "data"])
@pytest.mark.parametrize("batch", [2, 3, 8])
def test_a_split_batch_is_the_whole_batch(
    ranks: Group, world: int, strategy: Exact | Data, batch: int
) -> None:
    plain = toy(curved)(batch=batch)
    for (answer,) in ranks(world).run(generations.of_toy, "curved", Plan(strategy, ({"batch": batch},))):
        assert np.allclose(answer.output, plain, rtol=1e-5, atol=1e-5)


def test_each_rank_does_its_share_only(ranks: Group) -> None:
    # The first evaluation is also made to learn the output's form, and whole and split to compare them.
    assert max(ranks(2).run(generations.asked)) <= 10 + 3


def test_rows_that_mix_are_refused_with_the_remedy(ranks: Group) -> None:
    for (answer,) in ranks(2).run(generations.of_toy, "mixing_rows", Plan(Exact())):
        assert answer.refusal.startswith("SplitRefused: ")
        assert "guidance_split=False" in answer.refusal
    pipe = toy(mixing_rows)
    plain = pipe()
    with parallelize(pipe, Exact()):
        assert np.array_equal(pipe(), plain)


@pytest.mark.parametrize("culprit", [0, 1])
@pytest.mark.parametrize("evaluation", [1, 5])
def test_an_error_on_one_rank_stops_all_and_the_next_generation_is_good(
    ranks: Group, culprit: int, evaluation: int
) -> None:
    expected = toy(curved)(seed=5)
    answers = ranks(2).run(generations.failing, culprit, evaluation)
    for rank, (caught, after) in enumerate(answers):
        if rank == culprit:
            assert "MemoryError: the device is full" in str(caught)
        else:
            assert f"RankFailed: Rank {culprit} failed at evaluation" in str(caught)
        assert np.allclose(after, expected, rtol=1e-5, atol=1e-5)


def test_ranks_with_other_seeds_are_named(ranks: Group) -> None:
    for refusal in ranks(3).run(generations.with_another_seed, 2):
        assert refusal.startswith("RanksDiverged: Rank 2 entered evaluation 0")
        assert "generator seed" in refusal
