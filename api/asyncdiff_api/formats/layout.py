"""Keys under an output prefix, in one place.

    job.json                                    what the prefix holds; written first
    items/0000037/<item-id>.png                 one object an item (for Frames: a folder of them)
    rejected/0000037/<item-id>.png              items that were made and not accepted
    manifest/block-0000037.jsonl                a finished block
    manifest/block-0000037.part-<attempt>-2.jsonl   what an attempt has flushed of an unfinished block
    probe/<attempt>                             written and removed to try permissions and conditional writes
    manifest.json, manifest.jsonl               the whole job; written by the finish step
    gallery/index.html                          page that shows, searches and filters the items
    gallery/page-00002.js                       further items of that page
    gallery/contact-sheet.jpg                   the first items on one picture
    _SUCCESS or _FAILED                         written last

Block numbers have seven digits so that listings are in order; a larger number simply has more.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.primitives import ATTEMPT_PATTERN

JOB_RECORD: Final = "job.json"
MANIFEST: Final = "manifest.json"
MANIFEST_LINES: Final = "manifest.jsonl"
SUCCESS: Final = "_SUCCESS"
FAILED: Final = "_FAILED"
ITEMS: Final = "items/"
REJECTED: Final = "rejected/"
BLOCKS: Final = "manifest/"
PROBES: Final = "probe/"
GALLERY: Final = "gallery/"
GALLERY_INDEX: Final = "gallery/index.html"
CONTACT_SHEET: Final = "gallery/contact-sheet.jpg"

EXTENSIONS: Final = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "MP4": ".mp4",
    "WebM": ".webm",
    "Frames": "/",
}
"""End of an item's key by `output.format`; frames lie in a folder of the item's id."""

_BLOCK_KEY = re.compile(rf"manifest/block-(\d{{7,}})(?:\.part-({ATTEMPT_PATTERN})-(\d+))?\.jsonl")
_UNSAFE_PREFIX = re.compile(r"(^|/)\.{1,2}(/|$)|//|^/|[\x00-\x1f\x7f\\]")


class BlockKey(NamedTuple):
    """What the key of a block manifest says."""

    block: int
    attempt: str
    """Empty for the manifest of a finished block."""
    part: int
    """From 0; 0 too for the manifest of a finished block."""

    @property
    def complete(self) -> bool:
        """Whether it is the manifest of a finished block."""
        return not self.attempt


def block_folder(block: int) -> str:
    """Gives the block's part of a key."""
    return f"{block:07d}/"


def item_key(block: int, item_id: str, output_format: str) -> str:
    """Gives the key of an accepted item; for Frames it ends with a slash and `frame_name` follows."""
    return f"{ITEMS}{block_folder(block)}{item_id}{EXTENSIONS[output_format]}"


def rejected_key(block: int, item_id: str, output_format: str) -> str:
    """Gives the key of an item that was made and not accepted; otherwise as `item_key`."""
    return f"{REJECTED}{block_folder(block)}{item_id}{EXTENSIONS[output_format]}"


def frame_name(frame: int) -> str:
    """Gives the name of one frame, numbered from 0, in an item's folder."""
    return f"frame-{frame:05d}.png"


def block_key(block: int) -> str:
    """Gives the key of a finished block's manifest."""
    return f"{BLOCKS}block-{block:07d}.jsonl"


def part_key(block: int, attempt: str, part: int) -> str:
    """Gives the key of what an attempt has flushed, for the `part`-th time from 0, of an unfinished block.

    Raises:
        ValueError: The attempt is not 8 hexadecimal digits.
    """
    if not re.fullmatch(ATTEMPT_PATTERN, attempt):
        raise ValueError(f"the attempt {attempt!r} is no name for a part; wanted are 8 hexadecimal digits")
    return f"{BLOCKS}block-{block:07d}.part-{attempt}-{part}.jsonl"


def parse_block_key(key: str) -> BlockKey | None:
    """Reads the key of a block manifest or part, relative to the prefix; None for any other key."""
    match = _BLOCK_KEY.fullmatch(key)
    if match is None:
        return None
    return BlockKey(int(match[1]), match[2] or "", int(match[3] or 0))


def probe_key(attempt: str) -> str:
    """Gives the key that an attempt's output probe writes."""
    return f"{PROBES}{attempt}"


def gallery_page(page: int) -> str:
    """Gives the key of the script with a gallery's items from page 2 on; those of page 1 are in the index."""
    return f"{GALLERY}page-{page:05d}.js"


def normal_prefix(prefix: str) -> str:
    """Gives a prefix that is empty or ends with one slash.

    Raises:
        InvalidJobError: The prefix begins with a slash, or holds an empty part, `.`, `..`, a backslash or a
            control character: file systems and S3 would disagree about it.
    """
    if _UNSAFE_PREFIX.search(prefix):
        raise InvalidJobError(
            f"the output prefix {prefix!r} begins with '/', or holds '//', '.', '..', a backslash or a "
            "control character; write it as 'folder/subfolder/'"
        )
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
