"""A store's entries are whole or not there, whoever writes, whatever happens to the folder."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asyncdiff_runtime.engine.graph.bundle import Key, Store

KEY = Key("compiled", "0123", {"torch": "2.11", "device": "cpu"})
PAYLOAD = bytes(range(256)) * 4096


def opened(folder: Path, **limits: int) -> Store:
    store = Store.opened(folder, **limits)
    assert store is not None
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path / "cache")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system in memory; skips where this process may not."""
    made: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"mounted{len(made)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "asyncdiff-test", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a file system needs root")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", str(folder)], check=True)


def shared(folder: Path) -> None:
    folder.chmod(0o770)
    os.chown(folder, -1, 54321)


def write_often(folder: Path, fill: int, turns: int) -> None:
    store = opened(folder)
    for _ in range(turns):
        store.put(KEY, bytes([fill]) * 300_000)


def test_what_was_put_is_given_back_to_this_and_to_other_processes(store: Store) -> None:
    assert store.get(KEY) is None
    store.put(KEY, PAYLOAD)
    assert store.get(KEY) == PAYLOAD
    assert opened(store.folder).get(KEY) == PAYLOAD

    store.put(KEY, b"another")
    assert store.get(KEY) == b"another"


def test_readers_see_whole_entries_while_two_processes_write(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(store.folder, fill, 30)) for fill in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        found = store.get(KEY)
        if found is not None:
            assert len(found) == 300_000
            seen.add(frozenset(found))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0

    assert seen <= {frozenset({1}), frozenset({2})}
    assert [path.name for path in store.folder.iterdir()] == [KEY.name]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:10],
        lambda _: b"",
        lambda data: data + b"more",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b"2.11", b"2.12"),
        lambda data: b"asyncdiff bundle 0\n" + data,
    ],
    ids=["half", "torn off", "empty", "longer", "a bit turned", "another header", "another format"],
)
def test_a_damaged_entry_is_no_entry_and_is_put_anew(
    store: Store, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    store.put(KEY, PAYLOAD)
    path = store.folder / KEY.name
    path.write_bytes(spoil(path.read_bytes()))

    with caplog.at_level(logging.INFO):
        assert store.get(KEY) is None
    [record] = caplog.records
    assert "damaged" in record.getMessage()

    store.put(KEY, PAYLOAD)
    assert store.get(KEY) == PAYLOAD


def test_entries_of_several_versions_live_side_by_side_and_a_miss_names_the_difference(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    newer = replace(KEY, circumstances={**KEY.circumstances, "torch": "2.15"})
    store.put(KEY, b"old")

    with caplog.at_level(logging.INFO):
        assert store.get(newer) is None
    [record] = caplog.records
    assert "torch 2.11, not 2.15" in record.getMessage()

    store.put(newer, b"new")
    assert (store.get(KEY), store.get(newer)) == (b"old", b"new")
    assert store.get(replace(KEY, subject="4567")) is None


def test_the_entries_used_longest_ago_make_room(tmp_path: Path) -> None:
    store = opened(tmp_path / "cache", limit_bytes=3500)
    keys = [replace(KEY, subject=str(number)) for number in range(4)]
    for age, key in enumerate(keys[:3]):
        store.put(key, bytes(900))
        os.utime(store.folder / key.name, (1000 + age, 1000 + age))
    assert store.get(keys[0]) is not None  # used just now

    store.put(keys[3], bytes(900))

    assert [store.get(key) is not None for key in keys] == [True, False, True, True]


def test_who_opens_a_store_is_told_how_full_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path / "cache", limit_bytes=4_000_000)
    store.put(KEY, bytes(1_200_000))
    store.put(replace(KEY, subject="4567"), bytes(300_000))

    with caplog.at_level(logging.INFO):
        opened(store.folder, limit_bytes=4_000_000)
    assert "2 entries, 1.5 MB of at most 4 MB" in caplog.text


def test_what_a_killed_writer_left_is_removed_when_it_is_old(store: Store) -> None:
    old, new = store.folder / ".unfinished-old", store.folder / ".unfinished-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))

    store.put(KEY, PAYLOAD)

    assert not old.exists()
    assert new.exists()


def test_an_entry_larger_than_the_limit_is_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path / "cache", limit_bytes=1000)
    store.put(KEY, PAYLOAD)
    assert store.get(KEY) is None
    assert "not kept" in caplog.text


def test_a_full_disk_leaves_the_folder_as_it_was(
    mounted: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(mounted("size=256k,mode=700"))
    store.put(KEY, b"small")

    store.put(replace(KEY, subject="large"), PAYLOAD)

    assert "No space left" in caplog.text
    assert [path.name for path in store.folder.iterdir()] == [KEY.name]
    assert store.get(KEY) == b"small"


def test_a_read_only_folder_is_read(mounted: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    folder = mounted("size=1m,mode=700")
    opened(folder).put(KEY, b"kept")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    store = opened(folder)
    assert store.get(KEY) == b"kept"
    store.put(replace(KEY, subject="new"), b"")

    assert "Read-only file system" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: folder.chmod(0o777), "everybody may write"),
        (shared, "group 54321"),
        (lambda folder: os.chown(folder, 54321, -1), "belongs to user 54321"),
        (lambda folder: (folder.rmdir(), folder.write_text("")), "cannot be made"),
        (lambda folder: (folder.rmdir(), folder.symlink_to(folder.parent)), "not a folder"),
    ],
    ids=["world-writable", "another group's", "another user's", "a file", "a link"],
)
def test_a_folder_that_others_may_write_to_is_not_used(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    try:
        spoil(folder)
    except PermissionError:
        pytest.skip("giving files to others needs root")

    assert Store.opened(folder) is None
    assert reason in caplog.text


def test_a_new_folder_is_this_user_s_alone(tmp_path: Path) -> None:
    folder = opened(tmp_path / "deep" / "cache").folder
    assert folder.stat().st_mode & 0o777 == 0o700
