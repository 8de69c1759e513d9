"""From a generated item to its object and its record: acceptance, encoding, upload."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.items import Resolver, WorkItem
from asyncdiff_api.formats.layout import EXTENSIONS, block_folder, item_key, rejected_key
from asyncdiff_api.formats.layout import ITEMS as ITEMS_FOLDER
from asyncdiff_api.formats.manifest import ItemRecord, Outcome
from asyncdiff_api.output import Format, Output
from PIL import Image, UnidentifiedImageError

from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.media import EncodingRefused, Rejection, accept, encode, encode_frames, to_images
from asyncdiff_runtime.storage import Creation, Storage

STILLS: Final = frozenset({Format.PNG, Format.JPEG, Format.WEBP})
"""Formats whose objects can be read again for width and height."""


@dataclass(frozen=True, kw_only=True)
class ObjectWriter:
    """Writes the objects of one job's items.

    Objects are created and never replaced: of two live writers the first one's object stands, and both
    record its digest, so that a manifest agrees with its objects whoever wrote last.
    """

    storage: Storage
    output: Output
    reject_blank: bool
    resolver: Resolver
    facts: Mapping[str, object]
    """Written into every file beside its request: the same for all writers of the job."""
    default_fps: int | None = None

    def settle(self, item: WorkItem, duplicates: int, result: Made | Unmade) -> ItemRecord:
        """Accepts or rejects a result, writes its object, and gives its record.

        Raises:
            OutputRefusedError: As `Storage`.
            OutageError: As `Storage`.
        """
        record = record_of(item, duplicates)
        if isinstance(result, Unmade):
            failure = {"outcome": Outcome.FAILED, "reason": result.reason, "message": result.message}
            return record.model_copy(update=failure)
        record = record.model_copy(update={"seconds": result.seconds, "report": result.report})
        pictures = to_images(result.pixels if result.pixels.ndim == 4 else result.pixels[None])
        frames = [picture for picture in pictures if isinstance(picture, Image.Image)]
        if len(frames) < len(pictures):
            return record.model_copy(update=_rejected(Rejection.NOT_FINITE))
        rejection = accept(frames) if self.reject_blank else None
        name = item_key if rejection is None else rejected_key
        key = name(item.position.block, item.id, self.output.format)
        try:
            place = self._write(key, item, frames)
        except EncodingRefused as error:
            failure = {"outcome": Outcome.FAILED, "reason": "Undecodable", "message": str(error)}
            return record.model_copy(update=failure)
        placed = record.model_copy(update=place)
        return placed if rejection is None else placed.model_copy(update=_rejected(rejection))

    def adopt(self, item: WorkItem, duplicates: int) -> ItemRecord | None:
        """Gives the record of an item whose object lies there although no ledger knows it.

        A writer that was killed between upload and ledger leaves such an object: it is not made again. One
        that cannot be decoded is removed.
        """
        key = item_key(item.position.block, item.id, self.output.format)
        data = self.storage.read(key)
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                width, height = picture.size
        except (UnidentifiedImageError, OSError):
            self.storage.delete(key)
            return None
        place = {"key": key, "bytes": len(data), "sha256": _sha256(data), "width": width, "height": height}
        return record_of(item, duplicates).model_copy(update=place)

    def orphans(self, blocks: range, complete: frozenset[int]) -> dict[int, set[str]]:
        """Gives the ids of items whose objects lie in the folders of blocks that are not complete.

        Formats of several objects an item have none: a folder may lack frames.
        """
        found: dict[int, set[str]] = {}
        if self.output.format not in STILLS:
            return found
        suffix = EXTENSIONS[self.output.format]
        for stat in self.storage.list(ITEMS_FOLDER, after=f"{ITEMS_FOLDER}{block_folder(blocks.start)}"):
            folder, _, name = stat.key.removeprefix(ITEMS_FOLDER).rpartition("/")
            if not folder.isdecimal() or not name.endswith(suffix):
                continue
            if int(folder) >= blocks.stop:
                break
            if int(folder) not in complete:
                found.setdefault(int(folder), set()).add(name.removesuffix(suffix))
        return found

    def _write(self, key: str, item: WorkItem, frames: list[Image.Image]) -> dict[str, object]:
        metadata = {"id": item.id, "request": self._request(item), **self.facts}
        size = {"width": frames[0].width, "height": frames[0].height}
        if self.output.format is Format.FRAMES:
            return {**self._write_frames(key, frames, metadata), **size}
        fps = item.line.fps or self.default_fps
        encoded = encode(
            frames if len(frames) > 1 else frames[0],
            self.output.format,
            metadata,
            fps=fps,
            quality=self.output.encoder_quality,
        )
        data = self._create(key, encoded.data, encoded.content_type)
        count = {"frames": len(frames)} if self.output.format not in STILLS else {}
        return {"key": key, "bytes": len(data), "sha256": _sha256(data), **size, **count}

    def _write_frames(
        self, key: str, frames: list[Image.Image], metadata: Mapping[str, object]
    ) -> dict[str, object]:
        digests, total = "", 0
        for encoded in encode_frames(frames, metadata):
            data = self._create(key.rstrip("/") + encoded.suffix, encoded.data, encoded.content_type)
            digests, total = digests + _sha256(data), total + len(data)
        return {"key": key, "bytes": total, "sha256": _sha256(digests.encode()), "frames": len(frames)}

    def _create(self, key: str, data: bytes, content_type: str) -> bytes:
        """Writes an object and gives the content that stands under its key."""
        if self.storage.create(key, data, content_type) is Creation.CREATED:
            return data
        return self.storage.read(key)

    def _request(self, item: WorkItem) -> JsonMap:
        request: JsonMap = self.resolver.request(item).model_dump(mode="json")
        return request


def record_of(item: WorkItem, duplicates: int) -> ItemRecord:
    """Gives the record of an item that was accepted, without its object."""
    return ItemRecord(
        id=item.id,
        outcome=Outcome.ACCEPTED,
        block=item.position.block,
        line=item.position.line,
        offset=item.position.offset,
        duplicates=duplicates,
        line_id=item.line.id,
        labels=item.line.labels,
        prompt=item.line.prompt or "",
        seed=item.seed,
    )


def _rejected(rejection: Rejection) -> dict[str, object]:
    return {"outcome": Outcome.REJECTED, "reason": rejection.value, "message": rejection.message}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
