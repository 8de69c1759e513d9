"""The gallery and the contact sheet of a prefix: finished or not, in its place or as a copy that stands alone."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.formats.errors import DrainedError
from asyncdiff_api.formats.layout import CONTACT_SHEET, GALLERY_INDEX, MANIFEST
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, Manifest, Outcome
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.finish import finish
from asyncdiff_runtime.batch.showing import LOOKED_AT, SHEET_ITEMS, show
from asyncdiff_runtime.media.gallery import About
from asyncdiff_runtime.storage import FolderStorage
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from PIL import Image
from support.command import run
from support.jobs import job as document
from support.painting import Painter, begin, work

if TYPE_CHECKING:
    from support.s3 import S3Server


@pytest.fixture(scope="module")
def job() -> AsyncDiffJob:
    return load(document({"spec.generate": {"prompts": ["a fox", "a boat"], "seeds": {"count": 4}}}))


@pytest.fixture(scope="module")
def finished(job: AsyncDiffJob, tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    storage = FolderStorage(tmp_path_factory.mktemp("prefix"))
    work(storage, job, Painter())
    finish(storage, job, begin(storage, job), "00000000")
    return storage


def addresses(page: str) -> list[str]:
    return re.findall(r'"link":"([^"]+)"', page)


def test_the_finish_step_writes_a_contact_sheet_and_names_it(finished: FolderStorage) -> None:
    manifest = Manifest.parse(finished.read(MANIFEST), MANIFEST)
    assert manifest.contact_sheet == CONTACT_SHEET
    with Image.open(io.BytesIO(finished.read(CONTACT_SHEET))) as sheet:
        assert (sheet.format, sheet.width > sheet.height) == ("JPEG", True)
    assert b'href="contact-sheet.jpg"' in finished.read(GALLERY_INDEX)


def test_a_long_list_is_neither_held_nor_read_for_the_sheet(finished: FolderStorage) -> None:
    taken = 0

    def records() -> Iterator[ItemRecord]:
        nonlocal taken
        while True:
            taken += 1
            lost = Outcome.FAILED if taken <= SHEET_ITEMS else Outcome.ACCEPTED
            yield ItemRecord(
                id=f"{taken:024x}", outcome=lost, block=0, line=taken, seed=taken, key="items/none"
            )

    shown = show(finished, lambda *_: None, records(), About(title="many", counts=ItemCounts()), limit=600)

    assert shown.contact_sheet is None  # no picture is there
    assert LOOKED_AT < taken == 600


def test_an_unfinished_prefix_has_a_gallery_that_says_so(job: AsyncDiffJob, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    with pytest.raises(DrainedError):
        work(storage, job, Painter(), draining=[False, True])

    done = run("gallery", str(tmp_path))

    assert done.exit_code == 0
    assert done.output.startswith("2 of 8 items done; 2 items shown\n")
    page = storage.read(GALLERY_INDEX).decode()
    assert "This job is unfinished: 2 of 8 items done so far." in page
    assert len(addresses(page)) == 2
    assert "manifest.json" not in page


def test_a_copy_links_to_the_pictures_where_they_are(finished: FolderStorage, tmp_path: Path) -> None:
    before = finished.read(GALLERY_INDEX)
    assert run("gallery", finished.uri, "--output", str(tmp_path / "copy")).exit_code == 0
    links = addresses((tmp_path / "copy" / "index.html").read_text())
    assert len(links) == 8
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)
    assert finished.read(GALLERY_INDEX) == before


def test_an_embedded_copy_needs_no_other_file(finished: FolderStorage, tmp_path: Path) -> None:
    assert run("gallery", finished.uri, "--output", str(tmp_path / "copy"), "--embed").exit_code == 0
    page = (tmp_path / "copy" / "index.html").read_text()
    assert len(addresses(page)) == 8
    assert all(link.startswith("data:image/png;base64,") for link in addresses(page))
    assert "file:///" not in page


def test_a_copy_of_a_bucket_fetches_the_pictures(
    job: AsyncDiffJob, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.bucket()
    work(S3Storage(bucket, "posters/", S3Options(endpoint=s3_server.endpoint)), job, Painter())

    copy = ["--output", str(tmp_path / "copy"), "--limit", "3", "--endpoint", s3_server.endpoint]
    done = run("gallery", f"s3://{bucket}/posters", *copy)

    assert done.output.startswith("8 of 8 items done; 3 items shown\n")
    links = addresses((tmp_path / "copy" / "index.html").read_text())
    assert len(links) == 3
    assert all((tmp_path / "copy" / link).is_file() for link in links)
