"""The inputs of a batch of items, had and decoded in the background while the batch before is made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from asyncdiff_api.formats.errors import InputRefusedError
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import inputs_of
from asyncdiff_api.generate import Generate

from asyncdiff_runtime.batch.generator import Unmade
from asyncdiff_runtime.batch.inputs.addresses import Addresses
from asyncdiff_runtime.batch.inputs.fitting import Size, fit, size_for

if TYPE_CHECKING:
    from PIL.Image import Image

AT_ONCE: Final = 8
KEPT: Final = 64
"""Decoded inputs that are kept: many items share one."""


@dataclass(frozen=True)
class Pictures:
    """The decoded inputs of one item, each in the item's size."""

    stills: Mapping[str, Image] = field(default_factory=dict)
    """By the input's name: `image`, `mask`, `control`, `reference`."""
    video: Sequence[Image] = ()

    @property
    def sizes(self) -> tuple[tuple[str, tuple[int, int]], ...]:
        """Name and size of each; equal for items that one call of a pipeline can make together."""
        sizes = [(name, picture.size) for name, picture in self.stills.items() if name != "reference"]
        return (*sorted(sizes), *((("video", self.video[0].size),) if self.video else ()))


Loaded = Pictures | Unmade


class Loader(Protocol):
    """Gives items their inputs."""

    def prepare(self, items: Sequence[WorkItem]) -> None:
        """Begins to load what the items need; returns at once."""

    def load(self, items: Sequence[WorkItem]) -> list[Loaded]:
        """Gives the inputs of each item, or why it has none.

        Raises:
            OutageError: S3 was not reached.
        """


def groups(pictures: Mapping[int, Pictures], *, together: bool) -> list[list[int]]:
    """Gives which items one call of a pipeline makes: those with inputs of equal sizes, or each alone.

    Args:
        pictures: Inputs of the items of a batch, by their places in it.
        together: Whether a call can make several items at all.
    """
    found: dict[object, list[int]] = {}
    for at, one in pictures.items():
        found.setdefault(one.sizes if together else at, []).append(at)
    return list(found.values())


class InputLoader:
    """Loads the inputs of items on threads of its own; to be used by one."""

    def __init__(self, addresses: Addresses, generate: Generate) -> None:
        self._addresses = addresses
        self._generate = generate
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inputs")
        self._decoded: OrderedDict[tuple[str, str, str, int | None], Future[Image | Sequence[Image]]] = (
            OrderedDict()
        )

    def prepare(self, items: Sequence[WorkItem]) -> None:
        """As `Loader.prepare`."""
        for item in items:
            self._begin(item)

    def load(self, items: Sequence[WorkItem]) -> list[Loaded]:
        """As `Loader.load`."""
        begun = [self._begin(item) for item in items]
        loaded = [self._result(item, inputs) for item, inputs in zip(items, begun, strict=True)]
        while len(self._decoded) > max(KEPT, 2 * len(items)):
            self._decoded.popitem(last=False)
        return loaded

    def _begin(self, item: WorkItem) -> dict[str, Future[Image | Sequence[Image]]]:
        wanted = inputs_of(item.line, self._generate)
        return {name: self._future(item, name, address) for name, address in wanted.items()}

    def _future(self, item: WorkItem, name: str, address: str) -> Future[Image | Sequence[Image]]:
        frames = (item.line.frames or self._generate.frames) if name == "video" else None
        key = (name, address, item.digests[name], frames)
        if key not in self._decoded:
            self._decoded[key] = self._pool.submit(self._decode, *key)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _decode(self, name: str, address: str, digest: str, frames: int | None) -> Image | Sequence[Image]:
        from asyncdiff_runtime.batch.inputs.decoding import decode_mask, decode_picture, decode_video

        data = self._addresses.read(name, address, digest)
        if name == "video":
            return decode_video(data, address, frames)
        return decode_mask(data, address) if name == "mask" else decode_picture(data, address)

    def _result(self, item: WorkItem, begun: Mapping[str, Future[Image | Sequence[Image]]]) -> Loaded:
        stills: dict[str, Image] = {}
        video: Sequence[Image] = ()
        try:
            for name, future in begun.items():
                found = future.result()
                if isinstance(found, Sequence):
                    video = found
                else:
                    stills[name] = found
        except InputRefusedError as error:
            return Unmade(str(error.reason), f"{item.position}: {error}")
        return self._fitted(item, stills, video)

    def _fitted(self, item: WorkItem, stills: Mapping[str, Image], video: Sequence[Image]) -> Pictures:
        """Brings all inputs to one size: the item's, else that of the first in the order of `Inputs`."""
        leading = next((stills[name] for name in ("image", "control") if name in stills), None)
        leading = leading or (video[0] if video else None)
        if leading is None:
            return Pictures(stills)
        width = item.line.width or self._generate.width
        height = item.line.height or self._generate.height
        size = size_for(Size(*leading.size), width, height)
        # A reference is described by an encoder of its own size; cutting it would lose what it shows.
        fitted = {name: found if name == "reference" else fit(found, size) for name, found in stills.items()}
        return Pictures(fitted, [fit(frame, size) for frame in video])
