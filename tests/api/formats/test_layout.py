"""Keys under an output prefix."""

import pytest
from asyncdiff_api.formats import layout
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.output import Format
from hypothesis import given
from hypothesis import strategies as st

ITEM = "0123456789abcdef01234567"


def test_keys_are_where_the_documentation_says() -> None:
    text = layout.__doc__ or ""
    for key in (
        layout.JOB_RECORD,
        layout.item_key(37, "<item-id>", "PNG"),
        layout.rejected_key(37, "<item-id>", "PNG"),
        layout.block_key(37),
        layout.part_key(37, "0123abcd", 2).replace("0123abcd", "<attempt>"),
        layout.probe_key("<attempt>"),
        layout.MANIFEST,
        layout.MANIFEST_LINES,
        layout.GALLERY_INDEX,
        layout.gallery_page(2),
        layout.CONTACT_SHEET,
        layout.SUCCESS,
        layout.FAILED,
    ):
        assert key in text


def test_every_output_format_has_an_end_of_key() -> None:
    assert set(layout.EXTENSIONS) == set(Format)
    assert layout.item_key(1, ITEM, Format.FRAMES) + layout.frame_name(7) == (
        f"items/0000001/{ITEM}/frame-00007.png"
    )


@given(block=st.integers(0, 10**9), attempt=st.from_regex(r"\A[0-9a-f]{8}\Z"), part=st.integers(0, 10**6))
def test_the_key_of_a_block_reads_back(block: int, attempt: str, part: int) -> None:
    assert layout.parse_block_key(layout.block_key(block)) == (block, "", 0)
    read = layout.parse_block_key(layout.part_key(block, attempt, part))
    assert read == (block, attempt, part)
    assert read is not None
    assert not read.complete


@pytest.mark.parametrize(
    "key",
    [
        "manifest/block-37.jsonl",
        "manifest/block-0000037.json",
        "manifest/block-0000037.part-xyz-1.jsonl",
        "manifest/probe",
        "items/block-0000037.jsonl",
        "manifest/block-0000037.jsonl.tmp",
    ],
)
def test_other_keys_are_not_blocks(key: str) -> None:
    assert layout.parse_block_key(key) is None


def test_listings_are_in_the_order_of_blocks() -> None:
    numbers = [0, 9, 10, 99_999, 1_000_000, 9_999_999]
    keys = [layout.block_key(number) for number in numbers]
    assert keys == sorted(keys)


def test_an_attempt_cannot_smuggle_a_path_into_a_key() -> None:
    with pytest.raises(ValueError, match="8 hexadecimal digits"):
        layout.part_key(1, "../../x", 0)


@pytest.mark.parametrize(("prefix", "normal"), [("", ""), ("a", "a/"), ("a/", "a/"), ("a/b.c", "a/b.c/")])
def test_a_prefix_ends_with_one_slash(prefix: str, normal: str) -> None:
    assert layout.normal_prefix(prefix) == normal


@pytest.mark.parametrize("prefix", ["/a", "a//b", "a/../b", "..", "./a", "a/.", "a\\b", "a\nb"])
def test_a_prefix_that_stores_disagree_about_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidJobError, match="write it as 'folder/subfolder/'"):
        layout.normal_prefix(prefix)
