"""Blocks and shards: every line in exactly one block, every block in exactly one shard."""

import itertools

import pytest
from asyncdiff_api.formats.blocks import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_ITEMS,
    MIN_BLOCK_BYTES,
    Blocking,
    BlockUnit,
    blocking_of_bytes,
    blocking_of_items,
    blocks_of_shard,
    shard_of_block,
)
from asyncdiff_api.formats.errors import WorklistUnreadableError
from asyncdiff_api.formats.lines import READ_BYTES, RawLine, lines_between, lines_of_blocks
from hypothesis import example, given
from hypothesis import strategies as st


@given(blocks=st.integers(0, 3000), shards=st.integers(1, 400))
def test_every_block_is_in_exactly_one_shard(blocks: int, shards: int) -> None:
    runs = [blocks_of_shard(shard, shards, blocks) for shard in range(shards)]
    assert list(itertools.chain(*runs)) == list(range(blocks))
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


@given(blocks=st.integers(1, 10**7), shards=st.integers(1, 10**4), data=st.data())
def test_a_block_knows_its_shard(blocks: int, shards: int, data: st.DataObject) -> None:
    block = data.draw(st.integers(0, blocks - 1))
    assert block in blocks_of_shard(shard_of_block(block, shards, blocks), shards, blocks)


@pytest.mark.parametrize("shard", [-1, 4])
def test_a_shard_that_does_not_exist_is_refused(shard: int) -> None:
    with pytest.raises(ValueError, match="they are 0 to 3"):
        blocks_of_shard(shard, 4, 10)


def test_a_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="they are 0 to 9"):
        shard_of_block(10, 4, 10)


@given(total=st.integers(0, 10**9))
def test_blocks_of_items_cover_every_item_once(total: int) -> None:
    blocking = blocking_of_items(total)
    assert 1 <= blocking.size <= MAX_BLOCK_ITEMS
    assert (blocking.count - 1) * blocking.size < max(total, 1) <= max(blocking.count, 1) * blocking.size


@given(total=st.integers(0, 10**11))
def test_blocks_of_bytes_cover_every_byte_once(total: int) -> None:
    blocking = blocking_of_bytes(total)
    assert MIN_BLOCK_BYTES <= blocking.size <= MAX_BLOCK_BYTES
    assert (blocking.count - 1) * blocking.size < max(total, 1) <= max(blocking.count, 1) * blocking.size


@pytest.mark.parametrize("items", [1, 2, 64, 500, 1024])
def test_a_short_list_has_a_block_for_each_item_so_that_it_occupies_many_gpus(items: int) -> None:
    assert blocking_of_items(items).count == items


def test_large_worklists_have_blocks_of_the_largest_size() -> None:
    assert blocking_of_items(10**6).size == 256
    assert blocking_of_bytes(2 * 2**30).size == 2**20


# Lines.

PIECES = st.sampled_from(
    [b"", b" ", b"a", b'{"prompt": "fox"}', b"\r", "é😀".encode(), b"x" * 40, b"\xef\xbb\xbf"]
)
FILES = st.builds(
    lambda lines, end: b"\n".join(lines) + end, st.lists(PIECES, max_size=30), st.sampled_from([b"", b"\n"])
)


def expected_lines(content: bytes) -> list[tuple[int, bytes]]:
    """The definition, in one pass over the whole file."""
    lines, offset = [], 0
    for line in content.split(b"\n"):
        lines.append((offset, line.removeprefix(b"\xef\xbb\xbf") if offset == 0 else line))
        offset += len(line) + 1
    return lines if content and not content.endswith(b"\n") else lines[:-1]


def read(content: bytes, blocks: range, blocking: Blocking) -> list[RawLine]:
    return list(lines_of_blocks(lambda start, stop: content[start:stop], blocks, blocking))


@given(content=FILES, size=st.integers(1, 70), shards=st.integers(1, 9))
@example(content=b"\n\n\n", size=1, shards=2)
@example(content=b"a\r\nb\r\n", size=3, shards=2)
@example(content=b"x" * 40 + b"\ny", size=3, shards=5)
@example(content=b"\xef\xbb\xbfa\nb", size=2, shards=3)
def test_every_line_is_in_exactly_one_block_whatever_the_shards(
    content: bytes, size: int, shards: int
) -> None:
    blocking = Blocking(unit=BlockUnit.BYTES, size=size, total=len(content))
    lines = [
        line
        for shard in range(shards)
        for line in read(content, blocks_of_shard(shard, shards, blocking.count), blocking)
    ]
    assert [(line.offset, line.data) for line in lines] == expected_lines(content)
    assert all(line.block == line.offset // size for line in lines)


@given(content=FILES, size=st.integers(1, 70))
def test_a_block_read_alone_gives_what_it_gives_in_a_run(content: bytes, size: int) -> None:
    blocking = Blocking(unit=BlockUnit.BYTES, size=size, total=len(content))
    alone = [
        line for block in range(blocking.count) for line in read(content, range(block, block + 1), blocking)
    ]
    assert alone == read(content, range(blocking.count), blocking)


def test_lines_are_numbered_from_one_within_their_block() -> None:
    content = b"a\nb\nc\nd\n"
    blocking = Blocking(unit=BlockUnit.BYTES, size=4, total=len(content))
    assert [(line.block, line.number) for line in read(content, range(2), blocking)] == [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 2),
    ]


def test_a_line_longer_than_many_reads_belongs_to_its_first_block() -> None:
    content = b"first\n" + b"x" * (READ_BYTES + 17) + b"\nlast\n"
    blocking = Blocking(unit=BlockUnit.BYTES, size=1000, total=len(content))
    spans = [
        list(
            lines_between(
                lambda start, stop: content[start:stop],
                blocking.span(range(block, block + 1)),
                len(content),
                max_line_bytes=2 * READ_BYTES,
            )
        )
        for block in (0, 500, blocking.count - 1)
    ]
    assert [[len(line) for _, line in span] for span in spans] == [[5, READ_BYTES + 17], [], [4]]


def test_a_reader_asks_for_no_more_than_its_run_and_the_rest_of_a_line() -> None:
    content = b'{"prompt": "a fox"}\n' * 200_000
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return content[start:stop]

    blocking = blocking_of_bytes(len(content))
    lines = list(lines_of_blocks(fetch, range(10, 20), blocking))
    span = blocking.span(range(10, 20))
    assert len(lines) == len(range(-(-span.start // 20), -(-span.stop // 20)))
    assert asked[0][0] == span.start - 1
    assert sum(stop - start for start, stop in asked) <= len(span) + 1 + 2**16


def test_one_long_json_array_is_refused_before_it_is_read_whole() -> None:
    content = b"[" + b'{"prompt": "fox"},' * 500_000
    asked: list[int] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return content[start:stop]

    with pytest.raises(WorklistUnreadableError, match="one JSON object a line, not one JSON array"):
        list(lines_of_blocks(fetch, range(1), blocking_of_bytes(len(content))))
    assert sum(asked) < 3 * 2**20


def test_a_short_read_is_an_error_and_not_an_end() -> None:
    blocking = Blocking(unit=BlockUnit.BYTES, size=100, total=100)
    with pytest.raises(WorklistUnreadableError, match="gave 3; the file changed"):
        list(lines_of_blocks(lambda _start, _stop: b"a\nb", range(1), blocking))


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf16_is_refused_by_name(mark: bytes) -> None:
    content = mark + b"\x00{\x00}\x00\n"
    blocking = Blocking(unit=BlockUnit.BYTES, size=100, total=len(content))
    with pytest.raises(WorklistUnreadableError, match="UTF-16; save it as UTF-8"):
        read(content, range(1), blocking)
