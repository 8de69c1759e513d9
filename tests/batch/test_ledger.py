"""The ledger records each block once, whoever writes and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.formats.canonical import sha256_digest
from asyncdiff_api.formats.errors import AnotherJobError, DamagedRecordError
from asyncdiff_api.formats.layout import block_key
from asyncdiff_api.formats.manifest import ItemRecord, Outcome, read_block
from asyncdiff_runtime.batch.launch import new_attempt
from asyncdiff_runtime.batch.ledger import Block, Ledger, Survey
from asyncdiff_runtime.storage import Creation, FolderStorage, Storage, open_storage
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from support.s3 import S3Server

DIGEST = sha256_digest(b"request")


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path)
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return open_storage(f"s3://{server.bucket()}/posters/")


def record(number: int, seconds: float = 1.0) -> ItemRecord:
    return ItemRecord(
        id=f"{number:024x}", outcome=Outcome.ACCEPTED, block=3, line=number + 1, seed=number, seconds=seconds
    )


def block_of(*numbers: int, seconds: float = 1.0) -> Block:
    records = [record(number, seconds) for number in numbers]
    return Block(3, {found.id: found for found in records}, complete=False)


def ledger(storage: Storage, attempt: str = "") -> Ledger:
    return Ledger(storage, DIGEST, attempt or new_attempt(), shard=0)


def reopened(storage: Storage) -> Block:
    fresh = ledger(storage)
    return fresh.open(3, fresh.survey(range(2, 5)))


def test_parts_of_several_attempts_add_up(storage: Storage) -> None:
    for block in (block_of(0, 1), block_of(1, 2)):
        ledger(storage).flush(block, block.fresh())

    found = reopened(storage)

    assert not found.complete
    assert sorted(found.records) == [record(number).id for number in range(3)]
    assert len(found.parts) == 2


def test_a_flush_writes_what_no_part_holds_yet(storage: Storage) -> None:
    writer, block = ledger(storage), block_of(0)
    writer.flush(block, block.fresh())
    assert block.fresh() == []
    block.records[record(1).id] = record(1)
    writer.flush(block, block.fresh())
    sizes = [len(read_block(storage.read(key), key).records) for key in sorted(block.parts)]
    assert sizes == [1, 1]
    assert len(block.kept()) == 2


def test_of_racing_commits_one_stands_and_all_hold_it(storage: Storage) -> None:
    writers = [(ledger(storage), block_of(0, 1, seconds=float(number))) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ours = list(pool.map(lambda writer: writer[0].commit(writer[1]), writers))

    standing = {found.id: found for found in read_block(storage.read(block_key(3)), "").records}
    assert ours.count(True) == 1
    assert all(block.records == standing for _, block in writers)


def test_a_commit_that_was_answered_twice_is_still_ones_own(storage: Storage) -> None:
    assert ledger(storage, "0000abcd").commit(block_of(0, 1))
    assert ledger(storage, "0000abcd").commit(block_of(0, 1))
    assert not ledger(storage, "0000ef01").commit(block_of(0, 1))


def test_a_survey_sees_its_own_blocks_alone(storage: Storage) -> None:
    for number in (1, 2, 3, 10):
        assert storage.create(block_key(number), b"") is Creation.CREATED
    assert ledger(storage).survey(range(2, 4)).complete == {2, 3}
    assert ledger(storage).survey(range(11)).complete == {1, 2, 3, 10}


def test_a_block_that_another_writer_finishes_meanwhile_is_seen_as_finished(storage: Storage) -> None:
    other, block = ledger(storage), block_of(0, 1)
    other.flush(block, block.fresh())
    late = ledger(storage)
    survey = late.survey(range(4))
    other.commit(block)

    found = late.open(3, survey)

    assert found.complete
    assert found.records == block.records


def test_what_a_killed_writer_left_of_a_finished_block_is_removed_and_not_read(storage: Storage) -> None:
    writer, block = ledger(storage), block_of(0, 1)
    writer.flush(block, block.fresh())
    block.parts.clear()  # as if it were killed between the commit and the removal
    writer.commit(block)

    fresh = ledger(storage)
    survey = fresh.survey(range(4))
    fresh.tidy(survey)

    assert (survey.parts, len(survey.leftovers)) == ({}, 1)
    assert [found.key for found in storage.list("manifest/")] == [block_key(3)]


@given(complete=st.frozensets(st.integers(0, 12)), start=st.integers(0, 6), length=st.integers(0, 8))
def test_runs_of_unfinished_blocks_are_what_is_not_complete(
    complete: frozenset[int], start: int, length: int
) -> None:
    blocks = range(start, start + length)
    runs = list(Survey(complete, {}).unfinished(blocks))
    assert [number for run in runs for number in run] == [n for n in blocks if n not in complete]
    assert all(runs)
    assert all(before.stop < after.start for before, after in pairwise(runs))


def test_a_damaged_manifest_is_named_with_the_remedy(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    ledger(storage).commit(block_of(0, 1))
    storage.write(block_key(3), storage.read(block_key(3))[:-5])
    with pytest.raises(DamagedRecordError, match=r"block-0000003\.jsonl.*delete it"):
        reopened(storage)


def test_a_manifest_of_another_request_is_refused(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    Ledger(storage, sha256_digest(b"another"), new_attempt(), 0).commit(block_of(0))
    with pytest.raises(AnotherJobError, match=r"another request than job\.json"):
        reopened(storage)
