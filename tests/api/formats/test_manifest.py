"""The ledger: what is known of a block is a union, and a damaged file is never mistaken for a whole one."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncdiff_api.formats.errors import DamagedRecordError
from asyncdiff_api.formats.manifest import (
    BlockHeader,
    ItemCounts,
    ItemRecord,
    Outcome,
    add_counts,
    count_records,
    merge_records,
    read_block,
    read_records,
    write_block,
)
from hypothesis import given
from hypothesis import strategies as st

DIGEST = f"sha256:{'0' * 64}"
HEADER = BlockHeader(
    block=3,
    complete=True,
    request_digest=DIGEST,
    attempt="0123abcd",
    written_at=datetime(2026, 1, 2, tzinfo=UTC),
    records=0,
    digest=DIGEST,
)


def record(item: int, outcome: Outcome = Outcome.ACCEPTED, **more: Any) -> ItemRecord:
    return ItemRecord(
        id=f"{item:024x}", outcome=outcome, block=3, line=1, prompt="\u2028 fox\n\x85", seed=item, **more
    )


RECORDS = st.builds(
    record,
    st.integers(0, 5),
    st.sampled_from(Outcome),
    duplicates=st.integers(0, 2),
    sha256=st.none() | st.sampled_from(["0" * 64, "1" * 64]),
)


def test_a_block_reads_back_as_it_was_written() -> None:
    records = (record(1, labels={"a": 1}), record(2, Outcome.FAILED, reason="Blank", message="all zero"))
    block = read_block(write_block(HEADER, records), "here")
    assert block.records == records
    assert block.header.records == 2


def test_an_empty_block_is_a_header_alone() -> None:
    data = write_block(HEADER, ())
    assert data.count(b"\n") == 1
    assert read_block(data, "here").records == ()


@given(st.data())
def test_a_block_that_was_cut_short_is_refused(data: st.DataObject) -> None:
    whole = write_block(HEADER, [record(1), record(2)])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DamagedRecordError, match="here"):
        read_block(whole[:cut], "here")


@given(st.data())
def test_a_block_with_a_flipped_bit_is_refused_or_differs_in_its_header_only(data: st.DataObject) -> None:
    whole = write_block(HEADER, [record(1), record(2)])
    body = whole.index(b"\n") + 1
    at = data.draw(st.integers(body, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedRecordError):
        read_block(bytes(flipped), "here")


@given(st.lists(RECORDS, max_size=8), st.randoms())
def test_the_union_does_not_depend_on_order_or_repetition(records: list[ItemRecord], random: Any) -> None:
    shuffled = [*records, *records[:3]]
    random.shuffle(shuffled)
    assert merge_records(shuffled) == merge_records(records)


@given(st.lists(RECORDS, max_size=8), st.lists(RECORDS, max_size=8))
def test_a_union_of_unions_is_the_union(left: list[ItemRecord], right: list[ItemRecord]) -> None:
    joined = [*merge_records(left).values(), *merge_records(right).values()]
    assert merge_records(joined) == merge_records([*left, *right])


def test_an_accepted_item_stands_before_its_failures() -> None:
    attempts = [record(1, Outcome.FAILED), record(1, Outcome.ACCEPTED), record(1, Outcome.REJECTED)]
    assert merge_records(attempts)[f"{1:024x}"].outcome is Outcome.ACCEPTED


def test_counts_are_of_distinct_items() -> None:
    counts = count_records(
        merge_records(
            [
                record(1),
                record(1),
                record(2, Outcome.REJECTED),
                record(3, Outcome.FAILED),
                record(4, duplicates=2),
            ]
        ).values()
    )
    assert (counts.done, counts.rejected, counts.failed, counts.duplicates) == (2, 1, 1, 2)
    assert counts.total is None


@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_counts_of_shards_add_up_and_the_total_waits_for_all(
    shards: list[tuple[int | None, int, int]],
) -> None:
    counts = [ItemCounts(total=total, done=done, failed=failed) for total, done, failed in shards]
    added = add_counts(counts)
    assert (added.done, added.failed) == (sum(c.done for c in counts), sum(c.failed for c in counts))
    assert (added.total is None) == any(total is None for total, _, _ in shards)
    assert add_counts([added, ItemCounts(total=0)]) == added


def test_the_whole_manifest_is_records_alone_for_any_program_to_read() -> None:
    lines = b"".join(record(item).to_line() + b"\n" for item in range(3))
    assert [json.loads(line)["seed"] for line in lines.decode().split("\n")[:-1]] == [0, 1, 2]
    assert [found.seed for found in read_records(lines, "here")] == [0, 1, 2]


def test_a_damaged_record_is_named_by_its_number() -> None:
    lines = record(1).to_line() + b"\n" + b'{"id": "short"}\n'
    with pytest.raises(DamagedRecordError, match=r"^here, record 2: id: "):
        list(read_records(lines, "here"))


def test_absent_values_are_not_written() -> None:
    assert set(json.loads(record(1).to_line())) == {
        "id",
        "outcome",
        "block",
        "line",
        "duplicates",
        "prompt",
        "seed",
    }
