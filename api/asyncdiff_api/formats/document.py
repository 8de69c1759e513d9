"""What all formats share: immutable parts, versions, and fields of the future that survive a rewrite.

A document names its format and a version `major.minor`. A reader of the same major accepts every minor:
fields it does not know are kept and written back, fields it misses take their defaults. Hence a minor
version may only add fields whose absence means "as before"; anything else is a new major, which an older
reader refuses.
"""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from asyncdiff_api.formats.errors import DamagedRecordError, UnsupportedVersionError
from asyncdiff_api.formats.primitives import Version

_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")


class FormatModel(BaseModel):
    """A piece of a document: immutable, camelCase outside, fields of newer versions kept.

    Fields that are None are not written; unknown fields are written as they were read.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        kept = self.__pydantic_extra__ or {}
        return {key: value for key, value in handler(self).items() if value is not None or key in kept}

    def to_line(self) -> bytes:
        """Gives the part as one line of compact JSON in UTF-8, without a newline."""
        return self.model_dump_json().encode()

    def to_pretty(self) -> bytes:
        """Gives the part as indented JSON in UTF-8 for people, with a newline at the end."""
        return (self.model_dump_json(indent=2) + "\n").encode()


class Document(FormatModel):
    """A part that stands alone, and so names its format and version."""

    format: str
    """Name of the format; a subclass gives it as a literal."""
    version: Version
    """Version `major.minor` that it was written in; a subclass gives the one that this code writes."""

    @classmethod
    def parse(cls, data: bytes | str, source: str) -> Self:
        """Reads a document of this format, of any minor version of the major that this code knows.

        Args:
            data: JSON in UTF-8.
            source: Where it was read, for error messages, such as `s3://renders/posters/job.json`.

        Raises:
            DamagedRecordError: The data is not JSON, is of another format, or lacks what the format demands.
            UnsupportedVersionError: The data is of another major version.
        """
        return cls.check(decode(data, source), source)

    @classmethod
    def check(cls, document: object, source: str) -> Self:
        """Reads a document from decoded JSON; otherwise as `parse`."""
        wanted = cls.model_fields["format"].default
        if not isinstance(document, dict) or document.get("format") != wanted:
            found = document.get("format") if isinstance(document, dict) else type(document).__name__
            raise DamagedRecordError(
                f"{source} holds {found!r} where a document of format {wanted!r} was expected; "
                "something else wrote this file: move it away or use another prefix"
            )
        _check_version(document.get("version"), cls, source)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise DamagedRecordError(f"{source} is damaged: {first_problem(error)}") from error


def decode(data: bytes | str, source: str) -> object:
    """Decodes JSON.

    Raises:
        DamagedRecordError: The data is not JSON.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise DamagedRecordError(
            f"{source} is not JSON ({error}); it was cut short or overwritten by something else"
        ) from error


def first_problem(error: ValidationError) -> str:
    """Says in one clause what the first of a validation's errors is, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    place = ".".join(map(str, first["loc"])) or "the document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first['msg']}{more}"


def _check_version(found: object, kind: type[Document], source: str) -> None:
    name, current = (str(kind.model_fields[field].default) for field in ("format", "version"))
    match = _VERSION.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise DamagedRecordError(
            f"{source} gives the version {found!r}; a version is two numbers, such as '{current}'"
        )
    written, read = int(match[1]), int(current.partition(".")[0])
    if written != read:
        remedy = "use a newer asyncdiff" if written > read else "use the asyncdiff that wrote it"
        raise UnsupportedVersionError(
            f"{source} is a {name} of version {found}; this asyncdiff reads {read}.x: "
            f"{remedy}, or another prefix"
        )
