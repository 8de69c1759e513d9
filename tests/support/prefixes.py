"""What holds for every output prefix, however it came to be."""

from __future__ import annotations

import hashlib

from asyncdiff_api.formats.layout import BLOCKS, ITEMS, parse_block_key
from asyncdiff_api.formats.manifest import ItemRecord, Outcome, read_block
from asyncdiff_runtime.storage import Storage


def recorded(storage: Storage) -> list[ItemRecord]:
    """The records of all finished blocks."""
    keys = [found.key for found in storage.list(BLOCKS)]
    finished = [key for key in keys if (parsed := parse_block_key(key)) and parsed.complete]
    return [record for key in finished for record in read_block(storage.read(key), key).records]


def assert_exactly_once(storage: Storage, blocks: int, items: int) -> None:
    """Every block is finished, every item is recorded once, and each record agrees with its object."""
    keys = [found.key for found in storage.list(BLOCKS)]
    finished = [parsed.block for key in keys if (parsed := parse_block_key(key)) and parsed.complete]
    assert finished == list(range(blocks))
    records = recorded(storage)
    assert len({record.id for record in records}) == len(records) == items
    for record in records:
        assert record.outcome is Outcome.ACCEPTED
        assert record.key is not None
        data = storage.read(record.key)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (record.bytes, record.sha256)
    objects = {found.key for found in storage.list(ITEMS)}
    assert objects == {record.key for record in records}
