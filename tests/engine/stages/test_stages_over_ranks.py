"""Ranks compute, bit for bit, what one process computes that runs all stages in turn; and stop together."""

from collections.abc import Callable

import numpy as np
import pytest
from asyncdiff_runtime.engine import AsyncStages, parallelize
from support import generations, stage_claims
from support.generations import Plan
from support.ranks import Ranks
from support.toy import layered

Group = Callable[[int], Ranks]

TWO = AsyncStages(stages=2, cut=("second", "third"))
OTHERS = (
    "svd",
    "sd3",
    "qwen-image",
    "pixart",
    "sana",
    "lumina",
    "chroma",
    "z-image",
    "ltx",
    "cogvideo",
    "hunyuan-true-cfg",
)
CALLS = ({"seed": 0, "steps": 5}, {"seed": 1, "steps": 4, "prompt": ["two boats at dawn, oil on canvas"]})


@pytest.mark.parametrize(
    ("name", "world", "strategy"),
    [
        ("sd15", 2, AsyncStages(stages=2, stride=2, warmup=2)),
        ("flux-true-cfg", 2, AsyncStages(stages=2, time_shift=True)),
        ("controlnet", 2, AsyncStages(stages=2, exact_tail=1)),
        ("wan", 3, AsyncStages(stages=3)),
        ("sd15", 4, AsyncStages(stages=2)),
    ],
    ids=["unet", "transformer with branches", "with a companion", "three stages", "two teams"],
)
def test_ranks_give_what_one_process_gives(
    ranks: Group, name: str, world: int, strategy: AsyncStages
) -> None:
    together = (("guidance_split", True),) if world > strategy.stages else ()
    (alone,) = generations.of_tiny(0, 1, name, [Plan(strategy, CALLS, together)])
    for (answers,) in ranks(world).run(generations.of_tiny, name, [Plan(strategy, CALLS)]):
        for answer, expected in zip(answers, alone, strict=True):
            assert not answer.refusal
            assert np.array_equal(answer.output, expected.output)


@pytest.mark.parametrize("name", OTHERS)
def test_other_denoisers_are_the_same_on_two_ranks_too(ranks: Group, name: str) -> None:
    plan = Plan(AsyncStages(stages=2), ({"seed": 0, "steps": 4},))
    ((expected,),) = generations.of_tiny(0, 1, name, [plan])
    assert not expected.refusal
    for ((answer,),) in ranks(2).run(generations.of_tiny, name, [plan]):
        assert np.array_equal(answer.output, expected.output), answer.refusal


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_stage_that_fails_stops_all_and_the_next_generation_is_good(ranks: Group, culprit: int) -> None:
    pipe = layered()
    with parallelize(pipe, TWO):
        expected = pipe(steps=9, seed=2).numpy()
    # The first rank's is the tail of an evaluation that reads what is old, the second one's is of an exact one.
    cell = 4 if culprit == 0 else 1
    found = ranks(2).run(generations.failing_stage, Plan(TWO), culprit, cell, 1)
    for rank, (caught, after) in enumerate(found):
        if rank == culprit:
            assert caught.endswith("MemoryError: the device is full")
        else:
            assert f"RankFailed: Rank {culprit} failed at evaluation" in caught
        assert np.array_equal(after, expected)


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_stage_that_fails_as_its_program_is_tried_stops_all_at_once(ranks: Group, culprit: int) -> None:
    pipe = layered()
    with parallelize(pipe, TWO):
        expected = pipe(steps=9, seed=2).numpy()
    found = ranks(2).run(generations.failing_stage, Plan(TWO), culprit, 1, 0)
    for rank, (caught, after) in enumerate(found):
        if rank == culprit:
            assert caught.startswith("RankFailed: This rank failed at tick")
            assert caught.endswith("MemoryError: the device is full")
        else:
            assert caught.startswith(f"RankFailed: Rank {culprit} failed at segment")
        assert np.array_equal(after, expected)


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_stage_that_cannot_be_made_ready_stops_all_at_once(ranks: Group, culprit: int) -> None:
    pipe = layered()
    with parallelize(pipe, TWO):
        expected = pipe(steps=3, seed=2).numpy()
    for rank, (caught, after) in enumerate(ranks(2).run(stage_claims.failing_rehearsal, TWO, culprit)):
        if rank == culprit:
            assert caught.endswith("failed at making its stage ready: MemoryError: the device is full")
        else:
            assert caught.startswith(f"RankFailed: Rank {culprit} failed at making its stage ready")
        assert np.array_equal(after, expected)


def test_what_is_sent_waits_for_none_of_the_two_messages_before_it_and_for_all_earlier_ones(
    ranks: Group,
) -> None:
    strategy = AsyncStages(stages=2, cut=("second", "third"))
    for found in ranks(2).run(stage_claims.sends, strategy, 6):
        sent = [number for kind, number in found if kind == "sent"]
        assert len(sent) > 4
        for at, (kind, number) in enumerate(found):
            if kind == "waited":
                assert found[at - 1] == ("sent", number + 2)
        assert [number for kind, number in found if kind == "waited"] == sent[:-2]


def test_a_rank_that_leaves_is_named_with_what_was_waited_for() -> None:
    group = Ranks(2)
    try:
        exact = AsyncStages(stages=2, warmup=9, cut=("second", "third"))
        left, gone = group.run(generations.leaving, Plan(exact), 1, 2)
    finally:
        group.stop()
    assert gone.startswith("KeyboardInterrupt")
    assert left.startswith("RankTimeout: Rank 0 was cut off after")
    assert "which segment 1 makes at evaluation 3 on rank 1" in left


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (AsyncStages(stages=2, cut=("first", "third")), "Rank 1 has another cut than rank 0"),
        (AsyncStages(stages=2, warmup=3, cut=("second", "third")), "Rank 1 has another schedule than rank 0"),
    ],
    ids=["cut", "schedule"],
)
def test_ranks_that_would_do_something_else_are_told_apart(
    ranks: Group, other: AsyncStages, sentence: str
) -> None:
    for refusal in ranks(2).run(generations.each_its_own, [Plan(TWO), Plan(other)]):
        assert refusal.startswith(f"RanksDiverged: {sentence}")
