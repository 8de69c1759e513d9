"""The gallery: one page over an output prefix that shows, searches and filters its items.

    gallery/index.html       page, style, script and the first items; asks no other host for anything
    gallery/page-00002.js    further items, fetched in the background
    gallery/contact-sheet.jpg

Links are relative, so it works from a folder, a bucket or any web server; a copy elsewhere has its pictures
linked by their full address, or in the page itself (`Links`). Pages beyond the first are scripts because a
browser lets a page that was opened as a file read scripts beside it, and no other data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import islice
from typing import Final, Protocol
from urllib.parse import quote

from asyncdiff_api.formats.layout import (
    CONTACT_SHEET,
    GALLERY,
    GALLERY_INDEX,
    ITEMS,
    MANIFEST,
    MANIFEST_LINES,
    REJECTED,
    frame_name,
    gallery_page,
)
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, Outcome
from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

DEFAULT_LIMIT: Final = 10_000
PAGE_ITEMS: Final = 500
"""Items of one page: some 150 kB, so that the first is there at once."""
PLAIN_ITEMS: Final = 60
"""Items shown where scripts are off."""
MAX_PROMPT_CHARACTERS: Final = 4000
"""A longer prompt is cut on the page; the item's file has all of it."""

_SHOWN: Final = frozenset(
    {
        "id",
        "line_id",
        "labels",
        "width",
        "height",
        "frames",
        "bytes",
        "seconds",
        "reason",
        "message",
        "report",
    }
)

Put = Callable[[str, bytes, str], None]
"""Writes an object: key relative to the output prefix, bytes, content type."""


@dataclass(frozen=True, slots=True)
class GalleryObject:
    """One file of the gallery."""

    key: str
    data: bytes
    content_type: str


class Links(Protocol):
    """Where the page finds the files of items."""

    def __call__(self, record: ItemRecord) -> str | None:
        """Gives the address of an item's file, a folder of frames with a slash at its end; None for none."""


@dataclass(frozen=True, slots=True)
class LinksFrom:
    """Links to the files under an output prefix."""

    root: str = "../"
    """Address of the prefix, a slash at its end; by default seen from the gallery's own folder."""

    def __call__(self, record: ItemRecord) -> str | None:
        """As `Links`; a key that is none of an item's is no link."""
        key = record.key
        if key is None or not key.startswith((ITEMS, REJECTED)):
            return None
        return self.root + quote(key, safe="/.")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the page says above its items."""

    title: str
    counts: ItemCounts
    """Of the whole job, shown on the page or not."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What all items share, by name, such as Model and Steps."""
    contact_sheet: bool = False
    """Whether the contact sheet was written."""
    root: str | None = "../"
    """Address of the prefix with its manifest, for links to it; None where there is no manifest."""
    notice: str = ""
    """What a reader should know first, such as that the job is unfinished."""


def write_gallery(
    records: Iterable[ItemRecord],
    put: Put,
    about: About,
    *,
    limit: int = DEFAULT_LIMIT,
    links: Links = LinksFrom(),
) -> tuple[str, ...]:
    """Writes the gallery, its index last, and gives the keys written. Otherwise as `gallery_objects`."""
    keys = []
    for item in gallery_objects(records, about, limit=limit, links=links):
        put(item.key, item.data, item.content_type)
        keys.append(item.key)
    return tuple(keys)


def gallery_objects(
    records: Iterable[ItemRecord],
    about: About,
    *,
    limit: int = DEFAULT_LIMIT,
    links: Links = LinksFrom(),
) -> Iterator[GalleryObject]:
    """Gives the files of a gallery over the first `limit` items; the page says how many there are in all.

    No more than two pages of records are held at a time, and none is read beyond the limit.

    Args:
        records: Items in the order in which they are shown.
        about: What the page says above them.
        limit: Most items that are shown, at least 1.
        links: Where the items' files are.

    Raises:
        ValueError: The limit is less than 1.
    """
    if limit < 1:
        raise ValueError(f"the gallery should show {limit} items; wanted is at least 1")
    first: list[dict[str, object]] = []
    shown, pages = 0, 0
    for pages, page in enumerate(_paged(islice(records, limit), links), start=1):
        shown += len(page)
        if pages == 1:
            first = page
        else:
            yield GalleryObject(
                gallery_page(pages), _page_script(pages, page), "text/javascript; charset=utf-8"
            )
    index = _index(about, first, shown, max(pages, 1))
    yield GalleryObject(GALLERY_INDEX, index, "text/html; charset=utf-8")


def _paged(records: Iterable[ItemRecord], links: Links) -> Iterator[list[dict[str, object]]]:
    iterator = iter(records)
    while page := [_row(record, links(record)) for record in islice(iterator, PAGE_ITEMS)]:
        yield page


def _page_script(page: int, rows: list[dict[str, object]]) -> bytes:
    return f"asyncdiffPage({page},{htmlsafe_json_dumps(rows, dumps=_compact)});\n".encode()


def _row(record: ItemRecord, link: str | None) -> dict[str, object]:
    """Gives what the page knows of an item: as the manifest, with links, and the seed as exact text."""
    row = record.model_dump(mode="json", include=set(_SHOWN))
    prompt = record.prompt
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        prompt = prompt[:MAX_PROMPT_CHARACTERS] + "…"
    row |= {"prompt": prompt, "seed": str(record.seed)}
    if record.outcome is not Outcome.ACCEPTED:
        row["outcome"] = record.outcome.value
    if link is not None:
        row["link"] = link
        if link.endswith("/") and not link.startswith("data:"):
            row["picture"] = link + frame_name(0)
    return row


def _index(about: About, rows: list[dict[str, object]], shown: int, pages: int) -> bytes:
    total = about.counts.done + about.counts.rejected + about.counts.failed
    style, script = _source("gallery.css"), _source("gallery.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    page = environment.from_string(_source("gallery.html")).render(
        about=about,
        total=max(total, shown),
        shown=shown,
        plain=rows[:PLAIN_ITEMS],
        contact_sheet=CONTACT_SHEET.removeprefix(GALLERY),
        manifest=None if about.root is None else about.root + MANIFEST,
        lines=None if about.root is None else about.root + MANIFEST_LINES,
        data=htmlsafe_json_dumps({"pages": pages, "shown": shown, "rows": rows}, dumps=_compact),
        style=Markup(style),  # noqa: S704 -- our own file
        style_hash=_csp_hash(style),
        script=Markup(script),  # noqa: S704 -- our own file
        script_hash=_csp_hash(script),
    )
    return page.encode(errors="replace")


def _source(name: str) -> str:
    return (resources.files("asyncdiff_runtime.media") / "pages" / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    """Gives the name by which a content security policy lets one inline element run (CSP 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _compact(value: object, **_: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
