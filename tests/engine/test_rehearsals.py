"""Ranks capture and compile at the same time, also those whose turn comes later."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import rehearsals
from support.ranks import Raised, Ranks

Group = Callable[[int], Ranks]


@pytest.mark.parametrize(
    ("degree", "rows"), [(2, 2), (1, 1)], ids=["a later evaluation's", "another branch's"]
)
def test_a_rank_without_work_captures_while_others_do(
    ranks: Group, tmp_path: Path, degree: int, rows: int
) -> None:
    for captures, ran in ranks(2).run(rehearsals.captures_begun_together, str(tmp_path), degree, rows):
        assert captures == 1
        assert ran[-1] == 0, "what was rehearsed is neither captured nor compared when its turn comes"


@pytest.mark.parametrize("culprit", [0, 1])
def test_ranks_hear_at_once_of_one_that_cannot_capture(ranks: Group, culprit: int) -> None:
    answers = ranks(2).outcomes(rehearsals.capture_that_fails, culprit)
    assert all(isinstance(answer, Raised) for answer in answers)
    assert answers[culprit].kind == "CaptureRefused"
    assert "no kernel for this" in answers[culprit].message
    assert answers[1 - culprit].kind == "RankFailed"
    assert f"Rank {culprit} failed at evaluation 0" in answers[1 - culprit].message
