"""The gallery's files: complete, bounded, and prompts in them are text whatever they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from asyncdiff_api.formats.layout import CONTACT_SHEET, GALLERY_INDEX, item_key
from asyncdiff_api.formats.manifest import ItemCounts, ItemRecord, Outcome, count_records
from asyncdiff_runtime.media.gallery import (
    PAGE_ITEMS,
    About,
    GalleryObject,
    gallery_objects,
    write_gallery,
)
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "]]>&lt;\u2028\u2029\0",
    "{{ 7 * 7 }}{% raw %}",
)


def record(number: int, prompt: str = "a fox", **changes: object) -> ItemRecord:
    item_id = f"{number:024x}"
    values = {
        "id": item_id,
        "outcome": Outcome.ACCEPTED,
        "block": 0,
        "line": number + 1,
        "prompt": prompt,
        "seed": number,
        "key": item_key(0, item_id, "PNG"),
    }
    return ItemRecord.model_validate(values | changes)


def about(records: list[ItemRecord]) -> About:
    return About(title="posters", counts=count_records(records))


def objects(records: list[ItemRecord], limit: int = 10_000) -> dict[str, bytes]:
    return {one.key: one.data for one in gallery_objects(records, about(records), limit=limit)}


def index(records: list[ItemRecord], limit: int = 10_000) -> str:
    return objects(records, limit)[GALLERY_INDEX].decode()


def rows_of_index(page: str) -> list[dict[str, object]]:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    rows = json.loads(data[1])["rows"]
    assert isinstance(rows, list)
    return rows


def rows_of_page(script: bytes) -> list[dict[str, object]]:
    call = re.fullmatch(r"asyncdiffPage\(\d+,(\[.*\])\);\n", script.decode())
    assert call
    rows = json.loads(call[1])
    assert isinstance(rows, list)
    return rows


class Tags(HTMLParser):
    """Collects the elements and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("count", [0, 1, PAGE_ITEMS, PAGE_ITEMS + 1, 2 * PAGE_ITEMS + 3])
def test_every_item_is_on_one_page_in_order(count: int) -> None:
    files = objects([record(number) for number in range(count)])
    pages = [files[key] for key in sorted(files) if key != GALLERY_INDEX]

    rows = rows_of_index(files[GALLERY_INDEX].decode()) + [
        row for page in pages for row in rows_of_page(page)
    ]

    assert [row["seed"] for row in rows] == [str(number) for number in range(count)]


def test_the_index_comes_last_so_that_its_pages_are_there() -> None:
    written: list[str] = []

    keys = write_gallery(
        [record(number) for number in range(PAGE_ITEMS + 1)],
        lambda key, _data, _content_type: written.append(key),
        about([]),
    )

    assert written == list(keys) == ["gallery/page-00002.js", GALLERY_INDEX]


def test_no_more_records_are_read_than_shown_and_the_page_says_so() -> None:
    read: list[int] = []

    def endless() -> Iterator[ItemRecord]:
        number = 0
        while True:
            read.append(number)
            yield record(number)
            number += 1

    many = About(title="posters", counts=ItemCounts(done=10_000_000))
    *_, last = gallery_objects(endless(), many, limit=700)

    assert len(read) == 700
    assert "These are the first 700 of 10,000,000 items." in last.data.decode()


def test_a_gallery_that_shows_all_says_nothing_of_a_limit() -> None:
    assert "These are the first" not in index([record(0)])


def test_few_records_are_held_at_a_time() -> None:
    alive = 0
    most = 0

    class Counted(ItemRecord):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def records() -> Iterator[ItemRecord]:
        nonlocal alive, most
        for number in range(4 * PAGE_ITEMS):
            alive += 1
            most = max(most, alive)
            yield Counted.model_construct(**dict(record(number)))

    objects_made: list[GalleryObject] = list(gallery_objects(records(), about([])))

    assert len(objects_made) == 4
    assert most < 10


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_hostile_prompt_stays_text(prompt: str) -> None:
    plain, hostile = index([record(0)]), index([record(0, prompt, labels={prompt or "x": prompt})])

    assert Tags(hostile).names == Tags(plain).names
    assert rows_of_index(hostile)[0]["prompt"] == prompt


@settings(deadline=None, max_examples=50)
@given(prompt=st.text(max_size=60) | st.sampled_from(HOSTILE))
def test_no_prompt_adds_an_element_or_ends_a_script(prompt: str) -> None:
    first = [record(number, prompt) for number in range(PAGE_ITEMS + 1)]
    files = objects(first)
    script = files["gallery/page-00002.js"]

    assert b"<" not in script
    assert script.isascii()
    assert rows_of_page(script)[0]["prompt"] == prompt


def test_hostile_titles_and_facts_stay_text() -> None:
    facts = {HOSTILE[0]: HOSTILE[1]}
    (hostile,) = gallery_objects([record(0)], About(title=HOSTILE[3], counts=ItemCounts(done=1), facts=facts))
    (plain,) = gallery_objects([record(0)], About(title="t", counts=ItemCounts(done=1), facts={"a": "b"}))

    assert Tags(hostile.data.decode()).names == Tags(plain.data.decode()).names


def test_nothing_is_asked_of_another_host() -> None:
    page = index([record(0)])

    assert all(re.match(r"\.\./|data:,|contact-sheet", address) for address in Tags(page).addresses)
    assert not re.search(r"""url\(|@import|https?://""", page)


def test_links_lead_from_the_gallery_to_the_items() -> None:
    (row,) = rows_of_index(index([record(7)]))

    assert row["link"] == f"../items/0000000/{7:024x}.png"


@pytest.mark.parametrize("key", [None, "javascript:alert(1)", "/etc/passwd", "https://example.org/a.png"])
def test_only_keys_of_items_become_links(key: str | None) -> None:
    (row,) = rows_of_index(index([record(0, key=key)]))

    assert "link" not in row


def test_a_folder_of_frames_shows_its_first() -> None:
    (row,) = rows_of_index(index([record(0, key=item_key(0, "0" * 24, "Frames"), frames=16)]))

    assert row["picture"] == f"../items/0000000/{'0' * 24}/frame-00000.png"


def test_seeds_beyond_what_a_script_can_count_to_stay_exact() -> None:
    (row,) = rows_of_index(index([record(0, seed=2**64 - 1)]))

    assert row["seed"] == "18446744073709551615"


def test_what_was_not_accepted_says_why() -> None:
    failed = record(0, outcome=Outcome.FAILED, key=None, reason="DoesNotFit", message="set a smaller height")
    page = index([failed])

    assert "1 failed" in page
    assert rows_of_index(page)[0]["message"] == "set a smaller height"


def test_a_very_long_prompt_is_cut_on_the_page() -> None:
    (row,) = rows_of_index(index([record(0, "fox " * 100_000)]))

    assert len(str(row["prompt"])) < 5000


def test_equal_records_give_equal_files() -> None:
    records = [record(number, labels={"b": 1, "a": 2}) for number in range(3)]

    assert objects(records) == objects(records)


def test_the_contact_sheet_is_linked_when_there_is_one() -> None:
    counts = ItemCounts(done=1)
    (with_sheet,) = gallery_objects([record(0)], About(title="t", counts=counts, contact_sheet=True))

    assert CONTACT_SHEET.removeprefix("gallery/") in Tags(with_sheet.data.decode()).addresses
    assert "contact-sheet" not in index([record(0)])


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted is at least 1"):
        list(gallery_objects([], about([]), limit=0))
