"""Lines of a worklist file, read by byte ranges.

A line ends with a newline (a carriage return before it is white space) or with the file. It belongs to the
block in which its first byte lies, so the reader of a run of blocks begins one byte early, to see whether a
line starts there, and reads past the run's end to finish the last line.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

from asyncdiff_api.formats.blocks import Blocking
from asyncdiff_api.formats.errors import WorklistUnreadableError

Fetch = Callable[[int, int], bytes]
"""Gives the bytes `[start, stop)` of a file, exactly that many."""

MAX_LINE_BYTES = 2**20
"""A longer line is refused: the file is most likely not JSON lines."""

READ_BYTES = 2**20
"""Bytes of one read within a run of blocks."""

TAIL_BYTES = 2**16
"""Bytes of one read past a run's end, where most often only the rest of a line is wanted."""


class RawLine(NamedTuple):
    """A line as it stands in the file, without its newline; it may be blank."""

    block: int
    number: int
    """Number of the line among those that start in its block, from 1."""
    offset: int
    """Offset in bytes of the line's start in the file."""
    data: bytes


def lines_of_blocks(fetch: Fetch, blocks: range, blocking: Blocking) -> Iterator[RawLine]:
    """Gives the lines that start in a contiguous run of blocks, in order, blank ones included.

    Args:
        fetch: Reads a range of the file.
        blocks: Run of blocks with step 1.
        blocking: Division of the file by bytes.

    Raises:
        WorklistUnreadableError: A line is longer than `MAX_LINE_BYTES`, a read came back short, or the file
            is not UTF-8 by its first bytes.
    """
    span = blocking.span(blocks)
    block, number = -1, 0
    for offset, data in lines_between(fetch, span, blocking.total):
        current = blocking.block_of(offset)
        number = number + 1 if current == block else 1
        block = current
        yield RawLine(block, number, offset, data)


def lines_between(
    fetch: Fetch, span: range, size: int, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Gives offset and data of each line that starts within a range of offsets.

    Args:
        fetch: Reads a range of the file.
        span: Range of offsets.
        size: Size of the file in bytes.
        max_line_bytes: Longest line accepted.

    Raises:
        WorklistUnreadableError: As `lines_of_blocks`.
    """
    for offset, line in _split(fetch, span, size, max_line_bytes):
        if len(line) > max_line_bytes:
            raise WorklistUnreadableError(
                f"the worklist's line at byte {offset} is longer than {max_line_bytes} bytes; a worklist is "
                "JSON lines: one JSON object a line, not one JSON array"
            )
        yield offset, _checked_start(line) if offset == 0 else line


def _split(fetch: Fetch, span: range, size: int, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Splits into lines; of one that is too long, gives no more than shows that it is."""
    if not span:
        return
    offset = max(span.start - 1, 0)
    foreign = span.start > 0  # the line that holds the byte before the range belongs to an earlier block
    rest = b""
    for chunk in _chunks(fetch, offset, span.stop, size):
        pieces = (rest + chunk).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            if foreign:
                foreign = False
            elif offset < span.stop:
                yield offset, piece
            offset += len(piece) + 1
        if foreign:
            offset, rest = offset + len(rest), b""
        if offset >= span.stop:
            return
        if len(rest) > max_line_bytes:
            break
    yield offset, rest


def _chunks(fetch: Fetch, start: int, stop: int, size: int) -> Iterator[bytes]:
    """Reads from `start` to `stop`, then on in smaller reads until the file ends or nobody asks."""
    while start < size:
        end = min(start + READ_BYTES, stop) if start < stop else min(start + TAIL_BYTES, size)
        data = fetch(start, end)
        if len(data) != end - start:
            raise WorklistUnreadableError(
                f"the worklist has {size} bytes, and a read of bytes {start} to {end} gave {len(data)}; "
                "the file changed while it was read: put the first one back"
            )
        yield data
        start = end


def _checked_start(line: bytes) -> bytes:
    """Takes a UTF-8 byte order mark off the file's first line."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise WorklistUnreadableError("the worklist is UTF-16; save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8)
