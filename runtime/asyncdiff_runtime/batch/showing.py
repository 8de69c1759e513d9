"""The gallery of a prefix and its contact sheet, from whatever is recorded."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from asyncdiff_api.formats.job_record import JobRecord
from asyncdiff_api.formats.layout import CONTACT_SHEET, frame_name
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, Outcome

from asyncdiff_runtime.media import MediaUnreadable, read_picture
from asyncdiff_runtime.media.gallery import DEFAULT_LIMIT, About, Links, LinksFrom, Put, write_gallery
from asyncdiff_runtime.media.sheet import contact_sheet, fitted
from asyncdiff_runtime.storage import ObjectMissingError, Storage

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET_ITEMS: Final = 24
SHEET_SHAPE: Final = 1.5
"""Columns for each row of the contact sheet."""
LOOKED_AT: Final = 500
"""Records among which the contact sheet's items are looked for."""
JPEG_QUALITY: Final = 90
READERS: Final = 8
"""Pictures read at once."""

_FACTS: Final = {
    "Steps": "spec.generate.steps",
    "Guidance": "spec.generate.guidanceScale",
    "Negative prompt": "spec.generate.negativePrompt",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was written: keys, as under a prefix."""

    page: str
    contact_sheet: str | None


def show(
    storage: Storage,
    put: Put,
    records: Iterable[ItemRecord],
    about: About,
    *,
    limit: int = DEFAULT_LIMIT,
    links: Links = LinksFrom(),  # noqa: B008 -- frozen
) -> Shown:
    """Writes the contact sheet and the gallery; holds few records and no more pictures than the sheet has.

    Args:
        storage: The prefix, from which pictures are read.
        put: Writes an object.
        records: Items in the order in which they are shown.
        about: What the page says above them.
        limit: Most items on the page.
        links: Where the page finds their files.

    Raises:
        OutputRefusedError: As `Storage`.
        OutageError: As `Storage`.
    """
    remaining = iter(records)
    first = list(islice(remaining, LOOKED_AT))
    sheet = _sheet(storage, first)
    if sheet is not None:
        put(CONTACT_SHEET, sheet, "image/jpeg")
    about = replace(about, contact_sheet=sheet is not None)
    *_, page = write_gallery(chain(first, remaining), put, about, limit=limit, links=links)
    return Shown(page=page, contact_sheet=None if sheet is None else CONTACT_SHEET)


def about_job(record: JobRecord, counts: ItemCounts, *, title: str = "", notice: str = "") -> About:
    """Gives what a gallery says above its items.

    Args:
        record: The prefix's record.
        counts: Counts of the job.
        title: The job's name; empty for that of the job that began the prefix.
        notice: What a reader should know first.
    """
    facts = {
        "Model": f"{record.model.source} {record.model.commit[:19]}",
        "Schedule": str(record.schedule["strategy"]),
        **{name: str(record.request[path]) for name, path in _FACTS.items() if path in record.request},
    }
    name = title or str(record.job.get("name") or "asyncdiff")
    return About(title=name, counts=counts, facts=facts, notice=notice)


def picture_key(record: ItemRecord) -> str | None:
    """Gives the key of an item's picture, of a folder of frames the first; None where it has none."""
    if record.key is None or not record.key.endswith("/"):
        return record.key
    return record.key + frame_name(0)


def _sheet(storage: Storage, records: Sequence[ItemRecord]) -> bytes | None:
    accepted = [record for record in records if record.outcome is Outcome.ACCEPTED][:SHEET_ITEMS]
    found = [
        (image, record.prompt or f"Seed {record.seed}") for image, record in _pictures(storage, accepted)
    ]
    if not found:
        return None
    columns = math.ceil(math.sqrt(len(found) * SHEET_SHAPE))
    sheet = contact_sheet([image for image, _ in found], columns, [words for _, words in found])
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return file.getvalue()


def _pictures(storage: Storage, records: Sequence[ItemRecord]) -> Iterator[tuple[Image, ItemRecord]]:
    """Gives the small picture of each item; one that is gone or cannot be read is left out."""

    def read(record: ItemRecord) -> Image | None:
        key = picture_key(record)
        try:
            return None if key is None else fitted(read_picture(storage.read(key)))
        except (ObjectMissingError, MediaUnreadable):
            return None

    with ThreadPoolExecutor(READERS) as readers:
        for record, image in zip(records, readers.map(read, records), strict=True):
            if image is not None:
                yield image, record
