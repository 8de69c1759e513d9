"""`job.json`: what an output prefix holds, so that resuming it needs nothing else.

The first pod creates it with If-None-Match; every later one, of this job or of one that continues it, here
or in another cluster, reads and obeys it. It pins what "the same job" means (the request), and what was
decided once: the model's commit, the schedule, the division into blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from asyncdiff_api.formats.blocks import Blocking
from asyncdiff_api.formats.canonical import canonical_json, sha256_digest
from asyncdiff_api.formats.document import Document, FormatModel
from asyncdiff_api.formats.errors import AnotherJobError, UnsupportedVersionError, WorklistChangedError
from asyncdiff_api.formats.identity import IDENTITY_VERSION, JsonMap, ModelIdentity, is_absent
from asyncdiff_api.formats.primitives import Attempt, Count, Digest, Version
from asyncdiff_api.formats.request import default_of

MAX_NAMED_DIFFERENCES = 5
"""Differences that an error message names."""


class WorklistSource(FormatModel):
    """The worklist file that the prefix was begun with."""

    source: str
    """Its address, such as `s3://renders/list.jsonl`."""
    etag: str = ""
    """Sent as If-Match with every range read; empty where the source has none."""
    bytes: Count
    digest: Digest | None = None
    """Of the file, where it was read whole."""


class JobRecord(Document):
    """The content of `job.json`."""

    format: Literal["job-record"] = "job-record"
    version: Version = "1.0"
    identity_version: int = IDENTITY_VERSION
    request_digest: Digest
    request: JsonMap
    """Every identity field of the spec by its path, such as `spec.generate.steps`; absent ones left out."""
    model: ModelIdentity
    schedule: JsonMap
    """The strategy and its parameters, decided once."""
    worklist: WorklistSource | None = None
    """None for inline prompts."""
    blocks: Blocking
    job: JsonMap = Field(default_factory=dict)
    """Name, namespace and uid of the job that began it, for people."""
    attempt: Attempt
    """Names the writer: who reads back its own attempt knows that its retried write had succeeded."""
    created_at: AwareDatetime
    versions: dict[str, str] = Field(default_factory=dict)

    def obey(self, request: Mapping[str, JsonValue], source: str) -> None:
        """Checks that a job may go on with this prefix.

        Args:
            request: The job's request, as `request_of` gives it.
            source: Where the record was read, for the error message.

        Raises:
            AnotherJobError: The prefix holds something else; names each field with both values.
            UnsupportedVersionError: Item ids are made by rules that this version does not know.
        """
        if self.identity_version != IDENTITY_VERSION:
            raise UnsupportedVersionError(
                f"{source} names items by identity version {self.identity_version}; this asyncdiff knows "
                f"{IDENTITY_VERSION}: use the asyncdiff that wrote it, or another prefix"
            )
        if differing := differences(self.request, request):
            named = "; ".join(map(str, differing[:MAX_NAMED_DIFFERENCES]))
            more = len(differing) - MAX_NAMED_DIFFERENCES
            raise AnotherJobError(
                f"{source} belongs to a job that asked for something else: {named}"
                f"{f'; and {more} more' if more > 0 else ''}. Use another prefix, or ask for what it holds"
            )

    def check_worklist(self, found: WorklistSource) -> None:
        """Checks that the worklist is still the one that the prefix was begun with.

        Raises:
            WorklistChangedError: Size, ETag or digest differ.
        """
        begun = self.worklist
        if begun is None or (begun.bytes, begun.etag, begun.digest) == (
            found.bytes,
            found.etag,
            found.digest,
        ):
            return
        raise WorklistChangedError(
            f"the worklist {found.source} has {found.bytes} bytes and ETag {found.etag!r}, where the prefix "
            f"was begun with {begun.bytes} bytes and ETag {begun.etag!r}; put that file back, or use another "
            "prefix"
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which two requests differ."""

    path: str
    recorded: JsonValue
    requested: JsonValue

    def __str__(self) -> str:
        """Names the field and both values."""
        return f"{self.path} is {_short(self.recorded)} there and {_short(self.requested)} here"


def request_digest(request: Mapping[str, JsonValue]) -> str:
    """Gives the digest of a request.

    Raises:
        NotCanonicalError: A field has no canonical text, such as NaN.
    """
    return sha256_digest(canonical_json({"identityVersion": IDENTITY_VERSION, "request": request}))


def differences(recorded: Mapping[str, JsonValue], requested: Mapping[str, JsonValue]) -> list[Difference]:
    """Gives the fields in which two requests differ, in order of their paths.

    A field that one of them does not mention has its default there: a record that was written before the
    field existed is the same request as one that gives the field its default.
    """
    found = []
    for path in sorted(recorded.keys() | requested.keys()):
        default = default_of(path)
        there, here = recorded.get(path, default), requested.get(path, default)
        if not _same(there, here):
            found.append(Difference(path, there, here))
    return found


def _same(there: JsonValue, here: JsonValue) -> bool:
    if is_absent(there) or is_absent(here):
        return is_absent(there) and is_absent(here)
    return canonical_json(there) == canonical_json(here)


def _short(value: JsonValue, limit: int = 120) -> str:
    text = canonical_json(value).decode()
    return text if len(text) <= limit else f"{text[:limit]}…"
