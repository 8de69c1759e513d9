"""Models in S3: a folder of a bucket, downloaded in spans into a cache that pods share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from asyncdiff_api.formats.errors import ModelUnavailableError, OutputRefusedError

from asyncdiff_runtime.batch.models.sources import Received, refuse_cache
from asyncdiff_runtime.storage import ObjectChangedError, ObjectMissingError, Stat

if TYPE_CHECKING:
    from asyncdiff_runtime.storage import Storage

SPAN_BYTES: Final = 16 * 2**20
AT_ONCE: Final = 8
MOST_FILES: Final = 10_000
"""More files than any model has: the address is then that of something else."""


@dataclass(frozen=True)
class BucketSource:
    """A folder in S3. What makes its commit is each file's name, size and ETag.

    A file is downloaded in spans, each noted once it is on disk, and gets its name when it is whole. A killed
    download goes on behind the noted spans. Two that run at once keep each other out by a lock; where the
    file system's locks do not reach the other node they write the same bytes at the same places.
    """

    name: str
    storage: Storage = field(repr=False)
    cache: Path
    pinned: str = ""
    """Digest that the files must still have; empty before it is decided."""
    remedy: str = "correct the address, or put the model there"

    def commit(self) -> str:
        """As `Source.commit`."""
        return self._digest

    def files(self) -> frozenset[str]:
        """As `Source.files`."""
        return frozenset(self._listing)

    def read(self, name: str) -> bytes:
        """As `Source.read`."""
        return (self.fetch([name]) / name).read_bytes()

    def fetch(self, names: Collection[str]) -> Path:
        """As `Source.fetch`."""
        if self.pinned and self.pinned != self._digest:
            raise ModelUnavailableError(
                f"{self.name} holds other files ({self._digest}) than those that the job began with "
                f"({self.pinned}); put them back, or begin a new prefix"
            )
        folder = self.cache / "s3" / self._digest.removeprefix("sha256:")
        with self._spoken():
            for name in sorted(names):
                if not (folder / name).exists():
                    self._download(name, folder)
        return folder

    def received(self, names: Collection[str]) -> Received:
        """As `Source.received`; of a file under way, the spans that are noted."""
        folder = self.cache / "s3" / self._digest.removeprefix("sha256:")
        parts = (self._received(folder / name, self._listing[name].size) for name in names)
        return sum(parts, Received())

    def _received(self, whole: Path, size: int) -> Received:
        if whole.exists():
            return Received(size, size)
        try:
            noted = _beside(whole, "spans").read_text().split()
        except FileNotFoundError:
            noted = []
        return Received(min(size, len(set(noted)) * SPAN_BYTES), size, whole=False)

    @cached_property
    def _listing(self) -> dict[str, Stat]:
        with self._spoken():
            found = list(islice(self.storage.list(""), MOST_FILES + 1))
        if len(found) > MOST_FILES:
            raise ModelUnavailableError(
                f"{self.name} holds more than {MOST_FILES} objects, so it is no model's folder; {self.remedy}"
            )
        if not found:
            raise ModelUnavailableError(f"{self.name} holds nothing; {self.remedy}")
        return {stat.key: stat for stat in found if _is_plain(stat.key)}

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256()
        for name, stat in sorted(self._listing.items()):
            total.update(f"{name}\0{stat.size}\0{stat.etag}\n".encode())
        return f"sha256:{total.hexdigest()}"

    def _download(self, name: str, folder: Path) -> None:
        whole = folder / name
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial, done = _beside(whole, "partial"), _beside(whole, "spans")
        with _lock(_beside(whole, "lock")):
            if whole.exists():  # another process was faster
                return
            self._fill(name, partial, done)
            try:
                partial.rename(whole)
            except FileNotFoundError:
                if not whole.exists():  # a node whose locks do not reach here was faster
                    raise
            done.unlink(missing_ok=True)

    def _fill(self, name: str, partial: Path, done: Path) -> None:
        """Writes the spans of a file that are not noted yet."""
        size = self._listing[name].size
        noted = set(done.read_text().split("\n")) if done.exists() and partial.exists() else set()
        starts = [start for start in range(0, size, SPAN_BYTES) if str(start) not in noted]
        target = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        note = os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for _ in pool.map(lambda start: self._copy(name, start, target, note), starts):
                    pass
            os.fsync(target)
        finally:
            os.close(target)
            os.close(note)

    def _copy(self, name: str, start: int, target: int, note: int) -> None:
        stat = self._listing[name]
        span = range(start, min(start + SPAN_BYTES, stat.size))
        data = self.storage.read(name, span, stat.etag)
        written = 0
        while written < len(data):
            written += os.pwrite(target, data[written:], start + written)
        os.fdatasync(target)  # a span that is noted must survive a power cut
        os.write(note, f"{start}\n".encode())

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Says the storage's and the cache's errors as a model's."""
        try:
            yield
        except OutputRefusedError as error:
            raise ModelUnavailableError(f"{self.name} cannot be read: {error}") from error
        except (ObjectMissingError, ObjectChangedError) as error:
            raise ModelUnavailableError(
                f"{self.name} was changed while it was read ({error}); let it rest, and use a folder a version"
            ) from error
        except OSError as error:
            refuse_cache(self.name, self.cache, error)
            raise


def _beside(whole: Path, what: str) -> Path:
    """Names a hidden file that goes with one under way."""
    return whole.with_name(f".{whole.name}.{what}")


def _is_plain(name: str) -> bool:
    """Whether a key can be a file below a folder: buckets also hold markers of folders, and any text."""
    parts = PurePosixPath(name).parts
    return bool(name) and not name.endswith("/") and name == "/".join(parts) and ".." not in parts


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds a lock that ends with its process; does without where the file system has none."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # ENOLCK, ENOTSUP: the lock only saves work
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
