"""From items to pictures: what the work loop asks of whoever makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.items import WorkItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHAPE_FIELDS = ("height", "width", "frames", "steps", "guidance_scale")


@dataclass(frozen=True, eq=False)
class Made:
    """A picture or video."""

    pixels: NDArray[np.floating]
    """`(height, width, channels)` or `(frames, height, width, channels)`, values from 0 to 1."""
    seconds: float
    """Time of its generation; in a batch, its share."""
    report: JsonMap | None = None
    """What the strategy says of the generation."""


@dataclass(frozen=True)
class Unmade:
    """An item that could not be made, for a reason of its own."""

    reason: str
    message: str


class Generator(Protocol):
    """Makes items."""

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """Makes items of equal shape, together; the answer has one entry an item, in order.

        What raises is no item's fault and ends the attempt.
        """


def shape_of_item(item: WorkItem) -> bytes:
    """Gives a key that is equal for items that one call of a pipeline can make together."""
    line = item.line
    scheduler = line.scheduler.model_dump(mode="json") if line.scheduler else None
    return canonical_json([*(getattr(line, name) for name in _SHAPE_FIELDS), scheduler, line.options])


class Batches:
    """Gathers items of equal shape into batches, in the order in which they came."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: dict[bytes, list[WorkItem]] = {}

    @property
    def waiting(self) -> int:
        """Items that are in no batch yet."""
        return sum(map(len, self._waiting.values()))

    def add(self, items: Iterable[WorkItem]) -> Iterator[list[WorkItem]]:
        """Takes items and gives each batch that became full."""
        for item in items:
            shape = shape_of_item(item)
            group = self._waiting.setdefault(shape, [])
            group.append(item)
            if len(group) == self._size:
                yield self._waiting.pop(shape)

    def rest(self) -> Iterator[list[WorkItem]]:
        """Gives what is left, the oldest first."""
        while self._waiting:
            yield self._waiting.pop(next(iter(self._waiting)))
