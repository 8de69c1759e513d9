"""Entries by key in a folder that several processes and pods share."""

import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_MAGIC: Final = b"asyncdiff bundle 1\n"
_SUFFIX: Final = ".entry"
_UNFINISHED: Final = ".unfinished-"
_ABANDONED_SECONDS: Final = 3600.0
"""An unfinished file of this age was left by a process that was killed."""
GIBIBYTE: Final = 1 << 30


@dataclass(frozen=True)
class Key:
    """Which entry is meant.

    Attributes:
        kind: what it holds, a word.
        subject: digest of what it was made from.
        circumstances: all else that it holds for, by name: versions, device, options.
    """

    kind: str
    subject: str
    circumstances: Mapping[str, str]

    @property
    def stem(self) -> str:
        """Start of the names of all entries of this subject."""
        return f"{self.kind}-{hashlib.sha256(self.subject.encode()).hexdigest()[:20]}-"

    @property
    def name(self) -> str:
        """The entry's file name; other circumstances have other names, so that versions live side by side."""
        facts = json.dumps(dict(self.circumstances), sort_keys=True)
        return f"{self.stem}{hashlib.sha256(facts.encode()).hexdigest()[:20]}{_SUFFIX}"


@dataclass(frozen=True)
class Held:
    """How full a store is.

    Attributes:
        entries: their number.
        bytes: their size.
        limit_bytes: most that they may take.
    """

    entries: int
    bytes: int
    limit_bytes: int

    def __str__(self) -> str:
        megabytes, limit = self.bytes / 1e6, self.limit_bytes / 1e6
        return f"{self.entries} entries, {megabytes:,.1f} MB of at most {limit:,.0f} MB"


class Store:
    """Entries in a folder: whole or not there, for any number of writers.

    Reading never fails, it finds nothing; writing never fails, it leaves nothing. Either says so in a line of the log.

    Args:
        folder: exists, and others cannot write to it; `Store.opened` sees to both.
        limit_bytes: the entries used longest ago make room for new ones.
    """

    def __init__(self, folder: Path, limit_bytes: int = 8 * GIBIBYTE) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes

    @classmethod
    def opened(cls, folder: Path, limit_bytes: int = 8 * GIBIBYTE) -> "Store | None":
        """The store in a folder, which is made if need be; None, and a warning, if it cannot be used safely."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            danger = _danger(folder)
        except OSError as error:
            danger = f"it cannot be made ({error})"
        if danger:
            logger.warning("The cache %s is not used: %s.", folder, danger)
            return None
        store = cls(folder, limit_bytes)
        logger.info("The cache %s holds %s.", folder, store.held())
        return store

    def held(self) -> "Held":
        """What is there."""
        sizes = [size for size, _ in _latest_first(self.folder)]
        return Held(len(sizes), sum(sizes), self._limit_bytes)

    def get(self, key: Key) -> bytes | None:
        """What was put under a key; None if there is none, or it is damaged."""
        path = self.folder / key.name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._tell_others(key)
            return None
        except OSError as error:
            logger.warning("The cache's %s cannot be read (%s); made again.", path, error)
            return None
        payload = _payload(data, key)
        if payload is None:
            logger.warning("The cache's %s is damaged; made again.", path)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # when it was last used; a read-only folder does not learn it
            os.utime(path)
        return payload

    def put(self, key: Key, payload: bytes) -> None:
        """Keeps `payload` under a key, in place of what was there."""
        data = _MAGIC + _header(key, payload) + payload
        if len(data) > self._limit_bytes:
            logger.warning("%d bytes are more than the cache %s may hold; not kept.", len(data), self.folder)
            return
        try:
            self._write(self.folder / key.name, data)
        except OSError as error:
            logger.warning("The cache %s cannot be written to (%s); this is not kept.", self.folder, error)
            return
        self._make_room()

    def _write(self, path: Path, data: bytes) -> None:
        """Puts a file there at once: readers see the old one, or the whole new one."""
        handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).replace(path)
        except OSError:
            with suppress(OSError):
                Path(unfinished).unlink()
            raise

    def _make_room(self) -> None:
        """Removes the entries used longest ago beyond the limit, and what killed writers left."""
        with suppress(OSError):
            for path in self.folder.glob(f"{_UNFINISHED}*"):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                        path.unlink()
            held = 0
            for size, path in _latest_first(self.folder):
                held += size
                if held > self._limit_bytes:
                    with suppress(OSError):
                        path.unlink()

    def _tell_others(self, key: Key) -> None:
        """Says, where entries for other circumstances are there, in what they differ."""
        for path in self.folder.glob(f"{key.stem}*{_SUFFIX}"):
            try:
                with path.open("rb") as file:
                    file.readline()
                    theirs = json.loads(file.readline())["circumstances"]
                differences = [
                    f"{name} {theirs.get(name, 'unknown')}, not {ours}"
                    for name, ours in key.circumstances.items()
                    if theirs.get(name) != ours
                ]
            except (OSError, ValueError, LookupError, TypeError, AttributeError):
                continue
            logger.info("The cache's %s is for %s; made again.", path, "; ".join(differences))
            return


def _header(key: Key, payload: bytes) -> bytes:
    header = {
        "kind": key.kind,
        "subject": key.subject,
        "circumstances": dict(key.circumstances),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    return json.dumps(header).encode() + b"\n"


def _payload(data: bytes, key: Key) -> bytes | None:
    """The payload of a file that is whole and is this key's."""
    if not data.startswith(_MAGIC):
        return None
    header, found, payload = data[len(_MAGIC) :].partition(b"\n")
    return payload if found and header + found == _header(key, payload) else None


def _latest_first(folder: Path) -> Iterator[tuple[int, Path]]:
    """Size and path of each entry, the one used last first."""
    entries = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            found = path.stat()
            entries.append((found.st_mtime_ns, found.st_size, path))
    return ((size, path) for _, size, path in sorted(entries, reverse=True))


def _danger(folder: Path) -> str | None:
    """Why what lies in a folder must not be run, as ssh asks it of its keys; None if nothing speaks against it.

    A volume that pods share is writable by its group (Kubernetes' fsGroup), which is then one of this process's.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to user {found.st_uid}, whose files would be run as user {os.geteuid()}"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it, and what it holds is run; chmod o-w it"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (os.getegid(), *os.getgroups()):
        return f"group {found.st_gid}, which is not this process's, may write to it; chmod g-w it"
    return None
