"""What batch and the command line ask of a storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol


class Creation(Enum):
    """What became of a conditional write."""

    CREATED = auto()
    """The object is there, and this write put it there."""
    EXISTS = auto()
    """The key had an object already, which is unchanged.

    A write that was retried after its answer was lost finds its own object: who must know compares contents.
    """


@dataclass(frozen=True, slots=True)
class Stat:
    """An object as a listing shows it."""

    key: str
    size: int
    """Size in bytes."""
    etag: str
    """Changes whenever the content does; opaque."""


class ObjectMissingError(LookupError):
    """There is no object of that key."""


class ObjectChangedError(Exception):
    """The object is not, or no longer, the one of the ETag that was asked for."""


class Storage(Protocol):
    """Objects by key. Every method may raise the errors of the class's own docstring.

    Raises:
        OutputRefusedError: Credentials, permissions or the bucket are wrong; no retry helps.
        OutageError: The store stayed away, or had no room, through every retry.
    """

    @property
    def uri(self) -> str:
        """Where the storage lies, for people, with a slash at its end."""

    def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
        """Gives an object's content.

        Args:
            key: Its key.
            span: Bytes wanted, with step 1, at least one, all within the object; None for all of it.
            if_match: ETag that the object must have; empty for any.

        Raises:
            ObjectMissingError: There is no such object.
            ObjectChangedError: It has another ETag.
        """

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Writes an object, in place of the one that may be there."""

    def create(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> Creation:
        """Writes an object unless there is one: of racing writers exactly one succeeds."""

    def write_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:
        """Writes an object from a file of any size, in place of the one that may be there."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stat]:
        """Gives the objects whose keys begin with a prefix, in order of their keys.

        Args:
            prefix: Beginning of the keys.
            after: Keys up to and including this one are left out.
        """

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is removed already."""

    def stat(self, key: str) -> Stat | None:
        """Gives size and ETag of an object; None if it is not there."""

    def remove_unfinished(self) -> int:
        """Removes what writers that were killed left of unfinished writes; gives how many.

        To be called when no writer is left.
        """
