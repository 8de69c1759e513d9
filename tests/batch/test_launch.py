"""How ranks ended is said in one exit code, one reason and one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from asyncdiff_api.formats.errors import ContractError, DoesNotFitError, InvalidJobError, RankHungError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.result import MAX_RESULT_BYTES, Result
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.assignment import Assignment, Places, RankState
from asyncdiff_runtime.batch.launch import drained, ended
from asyncdiff_runtime.batch.rank import in_contract_words
from asyncdiff_runtime.engine import LayoutError, RankTimeout
from asyncdiff_runtime.storage import FolderStorage
from support.jobs import job as document
from support.painting import begin

WORKED = RankState(rank=0, items=ItemCounts(total=3, done=3), made=2, exit_code=0)
FAILED = RankState(
    rank=1,
    items=ItemCounts(done=1),
    made=1,
    exit_code=66,
    reason="ModelUnavailable",
    message="the model is gated",
)


def test_counts_of_all_ranks_add_up() -> None:
    end = ended({0: WORKED, 1: WORKED.model_copy(update={"rank": 1})}, None, 0)
    assert (end.exit_code, end.items.done, end.items.total, end.made) == (ExitCode.DONE, 6, 6, 4)


def test_a_rank_that_says_why_it_failed_is_quoted() -> None:
    end = ended({0: WORKED, 1: FAILED}, 1, 66)
    assert (end.exit_code, end.reason, end.message) == (66, "ModelUnavailable", "the model is gated")
    assert (end.items.done, end.items.total) == (4, None)


@pytest.mark.parametrize("states", [{}, {0: WORKED}, {0: WORKED, 1: RankState(rank=1)}])
def test_a_rank_that_was_killed_is_named_with_the_signal(states: dict[int, RankState]) -> None:
    end = ended(states, 1, -9)
    assert end.exit_code is ExitCode.UNEXPECTED
    assert (
        "rank 1 was ended by signal 9 (the kernel does that to processes when memory runs out)" in end.message
    )


def test_a_rank_that_alone_was_told_to_go_is_retried() -> None:
    end = ended({0: WORKED, 1: RankState(rank=1, exit_code=75, reason="Drained")}, 1, 75)
    assert end.exit_code is ExitCode.UNEXPECTED
    assert "rank 1 was told to go and the run was not" in end.message


def test_a_told_attempt_is_drained() -> None:
    assert drained({0: WORKED}).exit_code is ExitCode.DRAINED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RankTimeout("rank 1 stayed away"), RankHungError),
        (LayoutError("3 ranks do not divide"), InvalidJobError),
        (DoesNotFitError("too large"), DoesNotFitError),
    ],
)
def test_errors_of_the_engine_get_the_contracts_reason(error: Exception, kind: type[ContractError]) -> None:
    assert type(in_contract_words(error)) is kind
    assert str(in_contract_words(error)) == str(error)


def test_the_termination_message_carries_the_counts_and_the_reason(tmp_path: Path) -> None:
    job = load(document())
    record = begin(FolderStorage(tmp_path), job)
    assignment = Assignment(
        job=job.document(), record=record, places=Places(), shard=2, shards=4, attempt="0000abcd"
    )
    message = ended({0: WORKED, 1: FAILED}, 1, 66).result(assignment).encode()
    read = Result.parse(message, "termination message")
    assert (read.shard, read.exit_code, read.reason, read.items.done) == (2, 66, "ModelUnavailable", 4)
    assert len(message) <= MAX_RESULT_BYTES
