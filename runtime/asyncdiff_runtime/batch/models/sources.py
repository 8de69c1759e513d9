"""Where files of models lie: a folder, a bucket, the hub, all behind one small interface."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from asyncdiff_api.formats.errors import ModelUnavailableError

READERS: Final = 4
"""Files that are read at once for a digest: hashing lets other threads run."""

_NO_CACHE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True)
class Received:
    """How much of what is to be fetched is on this machine."""

    bytes: int = 0
    wanted: int | None = 0
    """Size of all that is wanted, in bytes; None where it is not known."""
    whole: bool = True
    """Whether nothing is left to be fetched."""

    def __add__(self, other: Received) -> Received:
        wanted = None if self.wanted is None or other.wanted is None else self.wanted + other.wanted
        return Received(self.bytes + other.bytes, wanted, self.whole and other.whole)


class Source(Protocol):
    """One repository or folder, at one commit."""

    @property
    def name(self) -> str:
        """What it is called in messages, such as `hub:owner/name at main`."""

    @property
    def remedy(self) -> str:
        """What to do where it does not hold what was looked for."""

    def commit(self) -> str:
        """Gives the commit, or a digest that is another when a file is another.

        Raises:
            ModelUnavailableError: It is missing, closed to this token, or has no such revision.
            OutageError: It was not reached.
        """

    def files(self) -> frozenset[str]:
        """Gives the names of all files, relative and with `/`; raises as `commit`."""

    def read(self, name: str) -> bytes:
        """Gives the content of a small file; raises as `commit`."""

    def fetch(self, names: Collection[str]) -> Path:
        """Brings files to this machine, unless they are here, and gives the folder in which they lie.

        Any number of processes and pods may share the cache and fetch at once; raises as `commit`.
        """

    def received(self, names: Collection[str]) -> Received:
        """Gives how much of files is on this machine, whoever fetches them; asked while `fetch` goes on."""


@dataclass(frozen=True)
class FolderSource:
    """A folder of this machine, such as a mounted volume."""

    name: str
    folder: Path
    remedy: str

    def commit(self) -> str:
        """As `Source.commit`: a digest of all files."""
        self.files()
        return digest_of_folder(self.folder)

    def files(self) -> frozenset[str]:
        """As `Source.files`; hidden files are left out."""
        if not self.folder.is_dir():
            raise ModelUnavailableError(f"{self.name}: there is no folder {self.folder}; {self.remedy}")
        return frozenset(path.relative_to(self.folder).as_posix() for path in _visible(self.folder))

    def read(self, name: str) -> bytes:
        """As `Source.read`."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ModelUnavailableError(f"{self.name}: {name} cannot be read ({error})") from error

    def fetch(self, names: Collection[str]) -> Path:  # noqa: ARG002 -- they are here
        """As `Source.fetch`."""
        return self.folder

    def received(self, names: Collection[str]) -> Received:  # noqa: ARG002 -- they are here
        """As `Source.received`."""
        return Received()


def digest_of_folder(folder: Path) -> str:
    """Gives a digest of all files of a folder, names and contents; hidden ones are left out."""
    files = sorted(_visible(folder))
    total = hashlib.sha256()
    with ThreadPoolExecutor(READERS) as pool:
        for path, content in zip(files, pool.map(_digest_of_file, files), strict=True):
            total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def cache_folder() -> Path:
    """Gives the folder for what is downloaded once; in a pod the variable names its cache volume."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asyncdiff"


def refuse_cache(name: str, cache: Path, error: BaseException) -> None:
    """Refuses a model that the cache has no room for, or may not be written to.

    Raises:
        ModelUnavailableError: The error is of that kind; no other error is raised.
    """
    if isinstance(error, OSError) and error.errno in _NO_CACHE:
        raise ModelUnavailableError(
            f"{name} could not be put into the cache {cache} ({error}); give it room and write access: "
            "spec.pod.modelCacheClaim in a cluster, HF_HOME and XDG_CACHE_HOME elsewhere"
        ) from error


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
