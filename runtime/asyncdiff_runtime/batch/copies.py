"""Galleries away from their prefix: pictures in the page itself, or fetched beside it."""

from __future__ import annotations

import base64
import io
import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncdiff_api.formats.manifest import ItemRecord
from PIL import Image

from asyncdiff_runtime.batch.showing import picture_key
from asyncdiff_runtime.media import MediaUnreadable, read_picture
from asyncdiff_runtime.storage import ObjectMissingError, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

EMBEDDED_BYTES: Final = 2**18
"""Size up to which a picture is embedded as it is."""
EMBEDDED_SIDE: Final = 1024
"""Longest side in pixels of a larger one, which is embedded as WebP."""
EMBEDDED_QUALITY: Final = 85


@dataclass(frozen=True)
class Embedding:
    """Links that hold the picture; of a video, its first frame."""

    storage: Storage

    def __call__(self, record: ItemRecord) -> str | None:
        """As `Links`; a file that is gone or cannot be read is no link."""
        key = picture_key(record)
        if key is None:
            return None
        try:
            data = self.storage.read(key)
            kind = mimetypes.guess_type(key)[0] or ""
            if not kind.startswith("image/") or len(data) > EMBEDDED_BYTES:
                data, kind = _reduced(read_picture(data)), "image/webp"
        except (ObjectMissingError, MediaUnreadable):
            return None
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True)
class Fetching:
    """Links to copies of the files, which are made on the way; of a folder of frames, its first."""

    storage: Storage
    write: Callable[[str, bytes], None]
    """Writes a copy under the item's own key."""

    def __call__(self, record: ItemRecord) -> str | None:
        """As `Links`; a file that is gone is no link."""
        key = picture_key(record)
        if key is None:
            return None
        try:
            self.write(key, self.storage.read(key))
        except ObjectMissingError:
            return None
        return key


def _reduced(picture: Image.Image) -> bytes:
    picture.thumbnail((EMBEDDED_SIDE, EMBEDDED_SIDE))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=EMBEDDED_QUALITY)
    return file.getvalue()
