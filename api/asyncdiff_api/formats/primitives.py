"""Types of fields that several formats share; every one of them is bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints

ATTEMPT_PATTERN: Final = r"[0-9a-f]{8}"
"""An attempt is named by 8 random hexadecimal digits, so two live writers never share a name."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
MAX_SEED: Final = 2**64 - 1
"""Largest seed that a `torch.Generator` takes."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Rate = Annotated[float, Field(ge=0, le=1e12)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$")]
"""A name such as a reason, a phase or an id: open, since a newer version may add names."""
Version = Annotated[str, StringConstraints(pattern=r"^\d{1,6}\.\d{1,6}$")]
Attempt = Annotated[str, StringConstraints(pattern=rf"^{ATTEMPT_PATTERN}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


_CUT: Final = "…"
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]+")


def _whole_characters(value: object) -> object:
    """Replaces halves of surrogate pairs, which names of files can hold and JSON cannot."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class _OneLine:
    """Makes any text one line of at most so many bytes of UTF-8, so that the text of a stranger fits."""

    max_bytes: int

    def __call__(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        data = _CONTROLS.sub(" ", value).encode(errors="replace")
        if len(data) <= self.max_bytes:
            return data.decode()
        return data[: self.max_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT


Message = Annotated[str, BeforeValidator(_whole_characters)]
"""A sentence for a person; any text is taken."""
Name = Annotated[str, BeforeValidator(_OneLine(128))]
"""A name from elsewhere, such as a key or a commit; a longer one is cut."""
Sentence = Annotated[str, BeforeValidator(_OneLine(256))]
"""A sentence in a document of bounded size; a longer one is cut."""
