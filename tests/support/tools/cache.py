"""A folder of results that are costly to make, each made once even when several processes ask at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cache_folder() -> Path:
    """`$ASYNCDIFF_CACHE`, else `asyncdiff` in the user's cache folder."""
    if own := os.environ.get("ASYNCDIFF_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "asyncdiff"


def cached(key: str, fill: Callable[[Path], None], announce: Callable[[str], None]) -> Path:
    """The folder of a key, filled by `fill` if nobody has done so yet.

    The folder appears whole or not at all: it is filled under another name and then renamed.

    Args:
        key: the name of the folder; whatever shapes its content belongs into the name.
        fill: fills the empty folder it is given.
        announce: told when another process holds the lock, for the wait may be long.
    """
    final = cache_folder() / key
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with lock(
        final.with_name(f".{key}.lock"), lambda: announce(f"another process makes {key}; waiting for it")
    ):
        if not final.exists():
            partial = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=final.parent))
            try:
                fill(partial)
                partial.chmod(0o755)
                partial.rename(final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return final


@contextlib.contextmanager
def lock(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds a lock file; the kernel lets go of it when the process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
