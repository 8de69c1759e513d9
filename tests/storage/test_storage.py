"""A folder and a bucket keep the same promises."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asyncdiff_api.formats.errors import ConditionalWritesUnsupportedError, OutputRefusedError
from asyncdiff_runtime.storage import (
    Creation,
    FolderStorage,
    ObjectChangedError,
    ObjectMissingError,
    Storage,
)

KEYS = ["items/0000001/a.png", "items/0000002/b.png", "items.txt", "job.json", "manifest/block-0000001.jsonl"]


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("items/0000001/a.png", b"first")
    storage.write("items/0000001/a.png", b"second")

    assert storage.read("items/0000001/a.png") == b"second"


def test_a_missing_object_is_missing_and_may_be_deleted(storage: Storage) -> None:
    with pytest.raises(ObjectMissingError, match=r"job\.json"):
        storage.read("job.json")
    assert storage.stat("job.json") is None
    assert list(storage.list("")) == []
    storage.delete("job.json")


def test_the_second_creation_is_refused_and_changes_nothing(storage: Storage) -> None:
    assert storage.create("job.json", b"first") is Creation.CREATED
    assert storage.create("job.json", b"second") is Creation.EXISTS
    assert storage.read("job.json") == b"first"


def test_of_racing_creators_exactly_one_wins(storage: Storage) -> None:
    bodies = [f"writer {number}".encode() * 1000 for number in range(16)]

    with ThreadPoolExecutor(len(bodies)) as writers:
        outcomes = list(writers.map(lambda body: storage.create("job.json", body), bodies))

    winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is Creation.CREATED]
    assert winners == [storage.read("job.json")]


@pytest.mark.parametrize("span", [range(1), range(3, 7), range(9, 10), range(10)])
def test_a_range_gives_those_bytes(storage: Storage, span: range) -> None:
    storage.write("list.jsonl", b"0123456789")

    assert storage.read("list.jsonl", span) == b"0123456789"[span.start : span.stop]


def test_a_changed_object_is_not_read_under_its_old_etag(storage: Storage) -> None:
    storage.write("list.jsonl", b"before")
    before = storage.stat("list.jsonl")
    assert before is not None
    assert storage.read("list.jsonl", range(3), before.etag) == b"bef"
    storage.write("list.jsonl", b"after, longer")

    with pytest.raises(ObjectChangedError, match=r"list\.jsonl"):
        storage.read("list.jsonl", range(3), before.etag)


def test_listings_are_in_order_and_begin_where_asked(storage: Storage) -> None:
    for key in reversed(KEYS):
        storage.write(key, key.encode())

    assert [found.key for found in storage.list("")] == sorted(KEYS)
    assert [found.key for found in storage.list("items/")] == KEYS[:2]
    assert [found.key for found in storage.list("items/0000001")] == KEYS[:1]
    assert [found.key for found in storage.list("", after=KEYS[0])] == sorted(KEYS)[2:]
    assert [found.size for found in storage.list("job")] == [8]


def test_listings_go_past_one_page(storage: Storage) -> None:
    keys = [f"manifest/block-{number:07d}.jsonl" for number in range(1100)]
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda key: storage.write(key, b"."), keys))

    assert [found.key for found in storage.list("manifest/")] == keys
    assert [found.key for found in storage.list("manifest/", after=keys[1049])] == keys[1050:]


def test_a_large_file_is_written_whole(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "video.mp4"
    source.write_bytes(bytes(range(256)) * 2**16)

    storage.write_file("items/video.mp4", source, "video/mp4")

    assert storage.read("items/video.mp4") == source.read_bytes()
    assert storage.remove_unfinished() == 0


def test_unfinished_writes_are_in_no_listing_and_can_be_removed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.write("items/a.png", b"whole")
    (tmp_path / "items" / ".asyncdiff-unfinished-00ff").write_bytes(b"ha")

    assert [found.key for found in storage.list("")] == ["items/a.png"]
    assert storage.remove_unfinished() == 1
    assert [path.name for path in (tmp_path / "items").iterdir()] == ["a.png"]


@pytest.mark.parametrize("missing", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_by_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(missing, os.strerror(missing))

    monkeypatch.setattr(os, "link", link)  # FAT, and buckets that are mounted: nothing that a test can mount
    with pytest.raises(ConditionalWritesUnsupportedError, match="without hard links"):
        FolderStorage(tmp_path).create("job.json", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputRefusedError, match="leads out of"):
        FolderStorage(tmp_path / "output").write("../escaped", b"")
    assert not (tmp_path / "escaped").exists()


def test_a_folder_where_a_file_lies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"")
    with pytest.raises(OutputRefusedError, match="is a file, and a folder is wanted"):
        FolderStorage(tmp_path / "output").write("job.json", b"")
