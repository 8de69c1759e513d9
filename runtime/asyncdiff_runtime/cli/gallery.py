"""`asyncdiff gallery`: the page over what a job has made, in its place or as a copy."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from asyncdiff_api.amounts import counted, of_items
from asyncdiff_api.formats.layout import CONTACT_SHEET, GALLERY, MANIFEST

from asyncdiff_runtime.cli.access import Endpoint, Profile, Region, open_prefix
from asyncdiff_runtime.cli.output import console, refuse, waiting

if TYPE_CHECKING:
    from asyncdiff_api.formats.manifest import ItemRecord

    from asyncdiff_runtime.batch.prefix import PrefixStatus
    from asyncdiff_runtime.media.gallery import About
    from asyncdiff_runtime.storage import Storage


def make_gallery(
    target: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Output of a job: a folder or s3://…, finished or not.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write a copy here, and nothing to the prefix."),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put the pictures into the copy's own files, made small.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most items on the page.")] = 10_000,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    endpoint: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
) -> None:
    """Write the gallery and the contact sheet of a job's output, also while it runs.

    Without --output they are written, or written again, under the prefix. A copy of a folder links to the
    pictures where they are; a copy of a bucket fetches them. With --embed the copy stands alone and can be sent
    to somebody; of videos it shows the first frame.
    """
    if embed and output is None:
        refuse("--embed makes a copy; say where with --output DIR")
    if show and output is None and target.startswith("s3://"):
        refuse("browsers open no page in a bucket; write a copy with --output DIR")
    storage = open_prefix(target, endpoint, region, profile)
    from asyncdiff_runtime.batch.prefix import PrefixReader

    with waiting("Reading the manifests"):
        found = PrefixReader(storage).read()
    with waiting("Writing the gallery"):
        page, sheet = _write(storage, found, output, embed=embed, limit=limit)
    out = console()
    out.print(f"{of_items(found.items)}; {counted(min(limit, _recorded(found)), 'item')} shown")
    out.print(f"gallery        {page}")
    if sheet:
        out.print(f"contact sheet  {sheet}")
    if show and not webbrowser.open(Path(page).as_uri()):
        refuse(f"no browser was found here; open {page} yourself")


def _write(
    storage: Storage, found: PrefixStatus, output: Path | None, *, embed: bool, limit: int
) -> tuple[str, str]:
    """Writes the gallery; gives where its page and its contact sheet lie."""
    from asyncdiff_runtime.batch.showing import show
    from asyncdiff_runtime.storage import FolderStorage

    about, records = _about(storage, found), _records(storage)
    if output is None:
        shown = show(storage, storage.write, records, about, limit=limit)
        place, prefix = storage.uri, ""
    else:
        copy = FolderStorage(output)

        def put(key: str, data: bytes, content_type: str) -> None:
            copy.write(key.removeprefix(GALLERY), data, content_type)

        about, links = _links_of_copy(storage, copy, about, embed=embed)
        shown = show(storage, put, records, about, limit=limit, links=links)
        place, prefix = copy.uri, GALLERY
    sheet = f"{place}{CONTACT_SHEET.removeprefix(prefix)}" if shown.contact_sheet else ""
    return f"{place}{shown.page.removeprefix(prefix)}", sheet


def _links_of_copy(storage: Storage, copy: Storage, about: About, *, embed: bool) -> tuple[About, Any]:
    """Gives where a copy's page finds the pictures, and its words with links that hold there."""
    from dataclasses import replace

    from asyncdiff_runtime.batch.copies import Embedding, Fetching
    from asyncdiff_runtime.media.gallery import LinksFrom

    alone = replace(about, root=None)
    if embed:
        return alone, Embedding(storage)
    if storage.uri.startswith("s3://"):
        return alone, Fetching(storage, copy.write)
    root = f"{Path(storage.uri).as_uri()}/"
    return replace(about, root=root if about.root else None), LinksFrom(root)


def _about(storage: Storage, found: PrefixStatus) -> About:
    from dataclasses import replace

    from asyncdiff_runtime.batch.record import read_record
    from asyncdiff_runtime.batch.showing import about_job

    record = read_record(storage)
    assert record is not None, "open_prefix has found it"
    notice = ""
    if found.completion is None:
        notice = f"This job is unfinished: {of_items(found.items)} so far."
    elif not found.completion.succeeded:
        notice = f"This job has failed: {found.completion.message or found.completion.reason}"
    about = about_job(record, found.items, notice=notice)
    return about if storage.stat(MANIFEST) else replace(about, root=None)


def _records(storage: Storage) -> Iterator[ItemRecord]:
    from asyncdiff_runtime.batch.ledger import Ledger
    from asyncdiff_runtime.batch.prefix import blocks_in_order
    from asyncdiff_runtime.batch.record import read_record

    record = read_record(storage)
    assert record is not None, "open_prefix has found it"
    ledger = Ledger(storage, record.request_digest, "00000000", 0)
    for block in blocks_in_order(ledger, record.blocks.count):
        yield from block.records.values()


def _recorded(found: PrefixStatus) -> int:
    return found.items.done + found.items.rejected + found.items.failed
