"""Blocks and shards: how a worklist is divided.

A block is the unit of the ledger, a shard the unit of a pod. Blocks depend on the worklist alone and are
pinned in `job.json`; a shard is a contiguous run of blocks, so another number of shards, pods or GPUs
resumes what the first began.

A worklist that is known as a whole (inline prompts × seeds, or a file of at most 1 MiB, which every shard
can read) is divided by items; a larger file by bytes, so that a shard reads only its own part. Large
worklists have blocks of 256 items or 1 MiB; small ones have smaller blocks, down to one item, because a
list of 64 items has to occupy more than one GPU.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from asyncdiff_api.formats.document import FormatModel

MAX_BLOCK_ITEMS = 256
"""Largest block of a worklist that is divided by items."""

MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 2**10, 2**20
"""Smallest and largest block of a worklist that is divided by bytes."""

WHOLE_FILE_BYTES = 2**20
"""A worklist file up to this size is read whole by every shard and divided by items."""

TARGET_BLOCKS = 1024
"""Blocks aimed at while neither bound of the block size is reached."""


class BlockUnit(StrEnum):
    """What a block is a number of."""

    ITEMS = "Items"
    BYTES = "Bytes"


class Blocking(FormatModel):
    """The division of one worklist into blocks."""

    unit: BlockUnit
    size: Annotated[int, Field(ge=1)]
    """Items or bytes in each block but the last."""
    total: Annotated[int, Field(ge=0)]
    """Items or bytes in the worklist."""

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.total // self.size)

    def block_of(self, position: int) -> int:
        """Gives the block that holds an item by its number, or a line by the offset of its first byte."""
        return position // self.size

    def span(self, blocks: range) -> range:
        """Gives the items, or the offsets, that a contiguous run of blocks holds."""
        return range(min(blocks.start * self.size, self.total), min(blocks.stop * self.size, self.total))


def blocking_of_items(total: int) -> Blocking:
    """Divides a worklist whose number of items is known."""
    size = min(max(total // TARGET_BLOCKS, 1), MAX_BLOCK_ITEMS)
    return Blocking(unit=BlockUnit.ITEMS, size=size, total=total)


def blocking_of_bytes(total: int) -> Blocking:
    """Divides a worklist file by its size in bytes."""
    size = min(max(total // TARGET_BLOCKS, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES)
    return Blocking(unit=BlockUnit.BYTES, size=size, total=total)


def blocks_of_shard(shard: int, shards: int, blocks: int) -> range:
    """Gives the contiguous run of blocks that a shard works off; sizes differ by at most one block.

    Args:
        shard: Number of the shard, from 0.
        shards: Number of shards.
        blocks: Number of blocks.

    Raises:
        ValueError: There is no such shard.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} was asked for; with {shards} shards they are 0 to {shards - 1}")
    return range(shard * blocks // shards, (shard + 1) * blocks // shards)


def shard_of_block(block: int, shards: int, blocks: int) -> int:
    """Gives the shard that works off a block.

    Raises:
        ValueError: There is no such block.
    """
    if not 0 <= block < blocks:
        raise ValueError(f"block {block} was asked for; with {blocks} blocks they are 0 to {blocks - 1}")
    return ((block + 1) * shards - 1) // blocks
