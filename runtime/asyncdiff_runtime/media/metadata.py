"""What a file says about itself: a JSON document for programs, and lines that other tools show.

The document is ASCII, so that no tool on the way can spoil it: text of any language, and even half a
surrogate pair, comes back as it was. The lines follow the custom of `parameters` in PNG text, which picture
managers for diffusion read: the prompt, the negative prompt, then `Steps: 30, CFG scale: 5, Seed: 7`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asyncdiff_runtime.media.errors import EncodingRefused, MediaUnreadable

KEY: Final = "asyncdiff"
"""Name of the document: keyword in PNG, tag in WebM."""

SOFTWARE: Final = "asyncdiff"

_SETTINGS: Final = (
    ("Steps", ("steps",)),
    ("Sampler", ("scheduler", "class")),
    ("CFG scale", ("guidanceScale",)),
    ("Seed", ("seed",)),
    ("Model", ("model", "source")),
    ("Model hash", ("model", "commit")),
)


@dataclass(frozen=True, slots=True)
class Description:
    """An item's metadata in the words that files take."""

    document: str
    """The metadata as JSON in ASCII."""
    prompt: str
    parameters: str
    """Prompt and settings as lines of text."""


def describe(metadata: Mapping[str, object], size: tuple[int, int]) -> Description:
    """Puts an item's metadata into words.

    The lines for other tools take `prompt`, `negativePrompt`, `steps`, `guidanceScale`, `seed`,
    `scheduler.class`, `model.source` and `model.commit`, from `request` if there is one, as in an
    `ItemRequest`.

    Args:
        metadata: JSON types under text keys.
        size: Width and height in pixels.

    Raises:
        EncodingRefused: A value is of no JSON type, or is NaN.
    """
    request = metadata.get("request", metadata)
    request = request if isinstance(request, Mapping) else metadata
    prompt = _text(request.get("prompt"))
    lines = [prompt]
    if negative := _text(request.get("negativePrompt")):
        lines.append(f"Negative prompt: {negative}")
    settings = {name: _text(_look_up(request, path)) for name, path in _SETTINGS}
    settings["Size"] = f"{size[0]}x{size[1]}"
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items() if value))
    return Description(_dump(metadata), prompt, "\n".join(lines))


def parse_document(text: str) -> dict[str, object]:
    """Reads a document that `describe` has written.

    Raises:
        MediaUnreadable: It is not a JSON object.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise MediaUnreadable(
            f"the file's metadata is not JSON ({error}); another program has changed it: take the file from "
            "the output prefix again"
        ) from error
    if not isinstance(document, dict):
        raise MediaUnreadable(
            f"the file's metadata is a JSON {type(document).__name__}; wanted is an object: take the file "
            "from the output prefix again"
        )
    return document


def no_metadata(kind: str) -> MediaUnreadable:
    """Gives the error for a sound file without our metadata."""
    return MediaUnreadable(
        f"this {kind} file carries no asyncdiff metadata: it was made by something else, or it was removed on the "
        "way, as screenshots, messengers, social networks, image optimisers and most editors do; take the file "
        "from the output prefix again"
    )


def _dump(metadata: Mapping[str, object]) -> str:
    _check(metadata, ())
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"))


def _check(value: object, path: tuple[str, ...]) -> None:
    """Refuses what JSON has no form for, and what it would give back as something else."""
    place = ".".join(path) or "the metadata"
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if value - value != 0:
                raise EncodingRefused(f"{place} is {value}, which JSON has no number for; leave it out")
        case list() | tuple():
            for index, item in enumerate(value):
                _check(item, (*path, str(index)))
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise EncodingRefused(f"{place} has the key {key!r}; keys of metadata are text")
                _check(item, (*path, key))
        case _:
            raise EncodingRefused(
                f"{place} is a {type(value).__name__}; metadata holds texts, numbers, lists and dicts: "
                "convert it first"
            )


def _look_up(values: object, path: tuple[str, ...]) -> object:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _text(value: object) -> str:
    """Gives text that every file can hold: no NUL, no half of a surrogate pair."""
    if value is None:
        return ""
    return str(value).replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
