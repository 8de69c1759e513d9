"""Every pipeline of the table through every strategy; adding a pipeline is a row in `support.pipelines`."""

from collections.abc import Callable

import numpy as np
import pytest
from asyncdiff_runtime.engine import Data, Exact, Lookahead
from support import generations
from support.generations import Generated, Plan
from support.pipelines import TABLE, TinyPipeline
from support.ranks import Ranks

Group = Callable[[int], Ranks]

CALLS = ({"seed": 0}, {"seed": 1, "batch": 3})
LOOKAHEAD = Lookahead(degree=2, tolerance=0.5, warmup=2, exact_tail=1)
PLANS = {
    "plain": Plan(None, CALLS),
    "exact": Plan(Exact(), CALLS),
    "data": Plan(Data(), CALLS),
    "tolerance zero": Plan(Lookahead(degree=2, tolerance=0.0, warmup=1, exact_tail=0), CALLS),
    "lookahead": Plan(LOOKAHEAD, CALLS),
    "plain again": Plan(None, CALLS),
}
SPLIT_REFUSED = {"sd-perturbed-attention"}
"""Its attention reads the rows of a batch together."""
LOOKAHEAD_REFUSED = {"ltx2", "lumina", "z-image"}
"""They predict two things at each evaluation, or count time backwards."""

pipelines = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def alone() -> Callable[[TinyPipeline], dict[str, list[Generated]]]:
    """What one process gives under each plan, worked out once a pipeline."""
    known: dict[str, dict[str, list[Generated]]] = {}

    def of(row: TinyPipeline) -> dict[str, list[Generated]]:
        if row.name not in known:
            known[row.name] = dict(
                zip(PLANS, generations.of_tiny(0, 1, row.name, list(PLANS.values())), strict=True)
            )
        return known[row.name]

    return of


Alone = Callable[[TinyPipeline], dict[str, list[Generated]]]


@pipelines
@pytest.mark.parametrize("plan", ["exact", "data", "tolerance zero", "plain again"])
def test_alone_exact_strategies_are_the_plain_pipeline_bit_for_bit(
    row: TinyPipeline, plan: str, alone: Alone
) -> None:
    if row.name in LOOKAHEAD_REFUSED and plan == "tolerance zero":
        assert all(answer.refusal for answer in alone(row)[plan])
        return
    for answer, plain in zip(alone(row)[plan], alone(row)["plain"], strict=True):
        assert np.array_equal(answer.output, plain.output), answer.refusal


@pipelines
def test_lookahead_works_or_says_why_not(row: TinyPipeline, alone: Alone) -> None:
    answers = alone(row)["lookahead"]
    if row.name in LOOKAHEAD_REFUSED:
        assert all(answer.refusal.startswith("LookaheadRefused: ") for answer in answers)
        assert all("Use Exact()" in answer.refusal for answer in answers)
        return
    for answer, plain in zip(answers, alone(row)["plain"], strict=True):
        report = answer.report
        assert report is not None, answer.refusal
        assert report.critical_path + report.accepted == report.evaluations
        assert np.isfinite(answer.output).all()
        distance = np.linalg.norm(answer.output - plain.output) / np.linalg.norm(plain.output)
        assert distance < 0.5
        assert report.accepted == 0 or distance > 0


@pipelines
def test_two_ranks_give_what_one_process_gives(row: TinyPipeline, alone: Alone, ranks: Group) -> None:
    lookahead, exact, data = Plan(LOOKAHEAD, CALLS), Plan(Exact(), CALLS), Plan(Data(), CALLS[1:])
    for rank in ranks(2).run(generations.of_tiny, row.name, [lookahead, exact, data]):
        for answer, expected in zip(rank[0], alone(row)["lookahead"], strict=True):
            assert np.array_equal(answer.output, expected.output), answer.refusal
            assert answer.refusal == expected.refusal
        for answer, plain in zip(
            [*rank[1], *rank[2]], [*alone(row)["plain"], alone(row)["plain"][1]], strict=True
        ):
            if row.name in SPLIT_REFUSED:
                assert answer.refusal
            else:
                assert np.allclose(answer.output, plain.output, rtol=1e-3, atol=1e-3), answer.refusal
