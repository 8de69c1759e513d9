"""A folder of a local or shared file system as a storage."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from asyncdiff_api.formats.errors import ConditionalWritesUnsupportedError, OutageError, OutputRefusedError

from asyncdiff_runtime.storage.interface import Creation, ObjectChangedError, ObjectMissingError, Stat

_UNFINISHED: Final = ".asyncdiff-unfinished-"
"""Beginning of the names of files that are still being written; listings leave them out."""

_REFUSED: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
)

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class FolderStorage:
    """Objects as files of a folder.

    A file is written under another name, synchronised with the disk, and then given its key: by rename to
    replace, by a hard link to create, which the file system refuses when the name is taken (POSIX link(2)).
    So a power cut leaves a key with its whole content or without an object.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def uri(self) -> str:
        """The folder's path."""
        return f"{self._root}/"

    def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
        """As `Storage.read`."""
        with self._spoken(key), self._open(key) as file:
            if if_match and _etag(os.fstat(file.fileno())) != if_match:
                raise ObjectChangedError(f"{self.uri}{key} was changed since it was first read")
            if span is None:
                return file.read()
            file.seek(span.start)
            return file.read(len(span))

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:  # noqa: ARG002 -- a file has no type
        """As `Storage.write`."""
        self._put(key, lambda file: file.write(data), os.replace)

    def create(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> Creation:  # noqa: ARG002 -- a file has no type
        """As `Storage.create`.

        Raises:
            ConditionalWritesUnsupportedError: The file system has no hard links.
        """
        if self._path(key).exists():
            return Creation.EXISTS
        try:
            self._put(key, lambda file: file.write(data), _link)
        except FileExistsError:
            return Creation.EXISTS
        return Creation.CREATED

    def write_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:  # noqa: ARG002 -- a file has no type
        """As `Storage.write_file`."""

        def copy(file: BinaryIO) -> None:
            with path.open("rb") as source:
                shutil.copyfileobj(source, file, 2**20)

        self._put(key, copy, os.replace)

    def list(self, prefix: str, after: str = "") -> Iterator[Stat]:
        """As `Storage.list`."""
        folder, _, _ = prefix.rpartition("/")
        with self._spoken(prefix):
            yield from self._walk(self._root / folder, f"{folder}/" if folder else "", prefix, after)

    def delete(self, key: str) -> None:
        """As `Storage.delete`."""
        with self._spoken(key), suppress(FileNotFoundError):
            self._path(key).unlink()

    def stat(self, key: str) -> Stat | None:
        """As `Storage.stat`."""
        with self._spoken(key), suppress(FileNotFoundError):
            found = self._path(key).stat()
            return Stat(key, found.st_size, _etag(found))
        return None

    def remove_unfinished(self) -> int:
        """As `Storage.remove_unfinished`."""
        with self._spoken(""):
            left = [path for path in self._root.rglob(f"{_UNFINISHED}*") if path.is_file()]
            for path in left:
                path.unlink(missing_ok=True)
        return len(left)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key)
        if parts.is_absolute() or ".." in parts.parts:
            raise OutputRefusedError(f"the key {key!r} leads out of {self.uri}; nothing was written")
        return self._root / parts

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissingError(f"there is no {self.uri}{key}") from error

    def _put(
        self, key: str, fill: Callable[[BinaryIO], object], give_name: Callable[[Path, Path], object]
    ) -> None:
        path = self._path(key)
        with self._spoken(key):
            _make_folder(path.parent)
            unfinished = path.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
            try:
                with unfinished.open("xb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                give_name(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
            _synchronise(path.parent)

    def _walk(self, folder: Path, place: str, prefix: str, after: str) -> Iterator[Stat]:
        """Gives the files below a folder in order of their keys; a folder's name sorts with its slash."""
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in sorted((f"{e.name}/" if e.is_dir() else e.name, e) for e in entries):
            key = place + name
            if entry.is_dir():
                overlaps = key.startswith(prefix) or prefix.startswith(key)
                if overlaps and (key > after or after.startswith(key)):
                    yield from self._walk(Path(entry.path), key, prefix, after)
            elif key.startswith(prefix) and key > after and not name.startswith(_UNFINISHED):
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield Stat(key, found.st_size, _etag(found))

    @contextmanager
    def _spoken(self, key: str) -> Iterator[None]:
        """Says an error of the file system as one of the contract's."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            where, what = f"{self.uri}{key}", error.strerror or str(error)
            if error.errno == errno.ENOTDIR:
                file = next((path for path in (self._root, *self._root.parents) if path.is_file()), where)
                raise OutputRefusedError(
                    f"{file} is a file, and a folder is wanted; name another place"
                ) from error
            if error.errno in _REFUSED:
                raise OutputRefusedError(
                    f"{where} may not be read or written ({what}); give this user the right, or choose "
                    "another folder"
                ) from error
            if isinstance(error, FileNotFoundError):
                raise
            raise OutageError(
                f"{where} could not be read or written ({what}); free space or mend the disk, then start "
                "again: what is recorded stays"
            ) from error


def _link(unfinished: Path, path: Path) -> None:
    try:
        path.hardlink_to(unfinished)
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise ConditionalWritesUnsupportedError(
                f"{path.parent} lies on a file system without hard links ({error.strerror}), by which files are "
                "created whole and once; use one that has them, such as ext4, XFS, CephFS or NFS, or a bucket"
            ) from error
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
    except FileNotFoundError as error:  # where nobody may make one, as in /proc, or behind a link to nowhere
        raise PermissionError(errno.EACCES, "no folder can be made there", str(folder)) from error


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _synchronise(folder: Path) -> None:
    """Makes a new name in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
