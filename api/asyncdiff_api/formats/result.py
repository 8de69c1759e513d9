"""The result of a container: its termination message, at most 4096 bytes whatever it has to say.

The kubelet cuts a longer message wherever it likes, and half a JSON document counts as nothing. So a result
makes itself fit: its message to people is shortened, and where that is not enough, what newer versions had
added is left out. Counts are never touched. Every other field is bounded, so the rest always fits.

Counts are cumulative for the shard, from the ledger. A container rewrites its result in place at every flush
(`final: false`), so that one that is killed leaves its last counts behind.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeVar

from asyncdiff_api.formats.document import Document, FormatModel
from asyncdiff_api.formats.errors import reason_of
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.manifest import ItemCounts
from asyncdiff_api.formats.primitives import Attempt, Count, Message, Name, Version, Word
from asyncdiff_api.formats.progress import PlanSummary, Throughput

MAX_RESULT_BYTES: Final = 4096
"""What Kubernetes keeps of a termination message."""

_CUT: Final = "…"

P = TypeVar("P", bound=FormatModel)


class OutputKeys(FormatModel):
    """Where the finish step has written, relative to the output prefix."""

    manifest: Name = ""
    gallery: Name = ""


class Result(Document):
    """The content of a termination message."""

    format: Literal["result"] = "result"
    version: Version = "1.0"
    scope: Literal["Shard", "Job"]
    """A shard's counts, or the whole job's from the finish step."""
    shard: Count | None = None
    """Number of the shard; None for the whole job."""
    shards: Count
    attempt: Attempt
    sequence: Count
    """Grows by one with every flush of the attempt."""
    final: bool
    """Whether the container has said its last word."""
    exit_code: Count | None = None
    reason: Word
    message: Message = ""
    items: ItemCounts
    throughput: Throughput | None = None
    plan: PlanSummary | None = None
    output: OutputKeys | None = None

    def encode(self) -> bytes:
        """Gives the termination message: JSON in UTF-8, at most `MAX_RESULT_BYTES` bytes, counts complete."""
        if len(whole := self.to_line()) <= MAX_RESULT_BYTES:
            return whole
        kept = self if _fits(self, 0) else _known_fields(self)
        return _shortened(kept, _longest_message(kept)).to_line()

    def ended_by(self, error: BaseException, exit_code: ExitCode) -> Self:
        """Gives the container's last word when an error ends it."""
        return self.model_validate(
            self.model_dump()
            | {"final": True, "exitCode": exit_code, "reason": reason_of(error), "message": str(error)}
        )


def _longest_message(result: Result) -> int:
    """Gives the number of the message's characters with which the result still fits."""
    fits, too_long = 0, len(result.message) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if _fits(result, middle) else (fits, middle)
    return fits


def _fits(result: Result, characters: int) -> bool:
    return len(_shortened(result, characters).to_line()) <= MAX_RESULT_BYTES


def _shortened(result: Result, characters: int) -> Result:
    if characters >= len(result.message):
        return result
    return result.model_copy(update={"message": result.message[:characters] + _CUT})


def _known_fields(part: P) -> P:
    """Leaves out, at every level, what this version has no field for."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    known = {
        name: _known_fields(value) if isinstance(value, FormatModel) else value
        for name, value in values.items()
    }
    return type(part).model_validate(known)
