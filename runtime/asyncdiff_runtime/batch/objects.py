"""From a generated item to its object and its record: acceptance, encoding, upload."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from asyncdiff_api.formats.identity import JsonMap
from asyncdiff_api.formats.items import Resolver, WorkItem
from asyncdiff_api.formats.layout import EXTENSIONS, block_folder, item_key, rejected_key
from asyncdiff_api.formats.layout import ITEMS as ITEMS_FOLDER
from asyncdiff_api.formats.manifest import ItemRecord, Outcome
from asyncdiff_api.output import Format, Output
from PIL import Image

from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.media import (
    Encoded,
    EncodingRefused,
    MediaUnreadable,
    Rejection,
    accept,
    encode,
    encode_frames,
    read_metadata,
    to_images,
)
from asyncdiff_runtime.storage import Creation, ObjectMissingError, Storage

STILLS: Final = frozenset({Format.PNG, Format.JPEG, Format.WEBP})
"""Formats whose objects can be read again for width and height."""

ENCODERS: Final = 4
"""Results that are encoded at once; any number may be uploaded."""


@dataclass(frozen=True)
class _Encoded:
    """An item, ready to be uploaded."""

    objects: list[Encoded]
    size: tuple[int, int]
    """Width and height."""
    frames: int | None
    """Of a video."""
    rejection: Rejection | None


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
    encoders: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(ENCODERS), repr=False)
    """Held by who encodes."""

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
        try:
            with self.encoders:
                encoded = self._encode(item, result)
        except EncodingRefused as error:
            failure = {"outcome": Outcome.FAILED, "reason": "Undecodable", "message": str(error)}
            return record.model_copy(update=failure)
        if encoded is None:
            return record.model_copy(update=_rejected(Rejection.NOT_FINITE))
        placed = record.model_copy(update=self._upload(item, encoded))
        return placed if encoded.rejection is None else placed.model_copy(update=_rejected(encoded.rejection))

    @property
    def adopts(self) -> bool:
        """Whether objects of lost records are taken over; of videos and frames, records must not be lost."""
        return self.output.format in STILLS

    def adopt(self, item: WorkItem, duplicates: int) -> ItemRecord | None:
        """Gives the record of an item whose object lies there although no ledger knows it.

        A writer that was killed between upload and ledger leaves such an object: it is not made again. One
        that cannot be decoded, or was made for something else, is removed.
        """
        key = item_key(item.position.block, item.id, self.output.format)
        try:
            data = self.storage.read(key)
        except ObjectMissingError:
            return None  # another writer has removed it
        try:
            sound = read_metadata(data).get("id") == item.id
        except MediaUnreadable:
            sound = False
        if not sound:
            self.storage.delete(key)
            return None
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
        place = {"key": key, "bytes": len(data), "sha256": _sha256(data), "width": width, "height": height}
        return record_of(item, duplicates).model_copy(update=place)

    def orphans(self, block: int) -> frozenset[str]:
        """Gives the ids of items whose objects lie in a block's folder; none where they cannot be adopted."""
        if not self.adopts:
            return frozenset()
        folder, suffix = f"{ITEMS_FOLDER}{block_folder(block)}", EXTENSIONS[self.output.format]
        keys = (found.key for found in self.storage.list(folder))
        return frozenset(key.removeprefix(folder).removesuffix(suffix) for key in keys)

    def _encode(self, item: WorkItem, made: Made) -> _Encoded | None:
        """Accepts or rejects a result and encodes it; None if it has values that are no numbers."""
        pictures = to_images(made.pixels if made.pixels.ndim == 4 else made.pixels[None])
        frames = [picture for picture in pictures if isinstance(picture, Image.Image)]
        if len(frames) < len(pictures):
            return None
        rejection = accept(frames) if self.reject_blank else None
        metadata = {"id": item.id, "request": self._request(item), **self.facts}
        if self.output.format is Format.FRAMES:
            return _Encoded(list(encode_frames(frames, metadata)), frames[0].size, len(frames), rejection)
        one = encode(
            frames if len(frames) > 1 else frames[0],
            self.output.format,
            metadata,
            fps=item.line.fps or self.default_fps,
            quality=self.output.encoder_quality,
        )
        count = None if self.output.format in STILLS else len(frames)
        return _Encoded([one], frames[0].size, count, rejection)

    def _upload(self, item: WorkItem, encoded: _Encoded) -> dict[str, object]:
        """Writes an item's objects and gives their part of its record."""
        name = item_key if encoded.rejection is None else rejected_key
        key = name(item.position.block, item.id, self.output.format)
        base = key.removesuffix(EXTENSIONS[self.output.format])
        contents = [self._create(base + one.suffix, one.data, one.content_type) for one in encoded.objects]
        digests = [_sha256(content) for content in contents]
        width, height = encoded.size
        return {
            "key": key,
            "bytes": sum(map(len, contents)),
            "sha256": _sha256("".join(digests).encode()) if key.endswith("/") else digests[0],
            "width": width,
            "height": height,
            "frames": encoded.frames,
        }

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
