"""How a field of the API is declared: its bounds, and the label that says what it means.

A field reads ``name: Annotated[type, bounds, Label(...)] = default``. The models, the CRD, the reference
table, ``asyncdiff explain`` and the error messages are all made from these declarations and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Le, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, kw_only=True)
class _LabelOptions:
    identity: bool
    mutable: bool


@dataclass(frozen=True)
class Label(_LabelOptions):
    """What a field of the spec means.

    Attributes:
        description: What it does, its unit, and what leaving it out means.
        identity: Whether changing it may change the bytes of a picture: it enters the item's identity, as it
            stands or through what it resolves to (a revision through its commit, a strategy through the
            pinned schedule).
        mutable: Whether it may change once the job exists.
    """

    description: str


@dataclass(frozen=True)
class Part:
    """What a section (an object or a list of objects) is for; the fields inside carry labels of their own."""

    description: str


@dataclass(frozen=True)
class Reported:
    """What a field of the status tells; the operator alone writes it."""

    description: str


@dataclass(frozen=True)
class Range(GroupedMetadata):
    """A number from ``minimum`` to ``maximum``, both included."""

    minimum: float
    maximum: float

    def __iter__(self) -> Iterator[BaseMetadata]:
        yield Ge(self.minimum)
        yield Le(self.maximum)


@dataclass(frozen=True)
class Text(GroupedMetadata):
    """A string of at most ``maximum`` characters.

    Attributes:
        maximum: Characters (Unicode code points) at most.
        minimum: Characters at least.
        pattern: A regular expression in the common ground of RE2 and Rust's regex, anchored where it matters.
        meaning: What the pattern wants, in words that complete "must be ...".
    """

    maximum: int
    minimum: int = 0
    pattern: str = ""
    meaning: str = ""

    def __iter__(self) -> Iterator[object]:
        if self.minimum:
            yield MinLen(self.minimum)
        yield MaxLen(self.maximum)
        if self.pattern:
            yield StringConstraints(pattern=self.pattern)

    def or_empty(self) -> "Text":
        """The same, but the empty string stands for "not set"."""
        return Text(self.maximum, 0, f"^$|{self.pattern}", f"{self.meaning}, or empty")


@dataclass(frozen=True)
class Items(GroupedMetadata):
    """A list of ``minimum`` to ``maximum`` entries.

    Attributes:
        maximum: Entries at most.
        minimum: Entries at least.
        key: The field that tells entries apart, for lists that several managers may write to.
    """

    maximum: int
    minimum: int = 0
    key: str = ""

    def __iter__(self) -> Iterator[BaseMetadata]:
        if self.minimum:
            yield MinLen(self.minimum)
        yield MaxLen(self.maximum)


@dataclass(frozen=True)
class Entries(GroupedMetadata):
    """A map of at most ``maximum`` keys."""

    maximum: int

    def __iter__(self) -> Iterator[BaseMetadata]:
        yield MaxLen(self.maximum)


class Section(BaseModel):
    """An object of the contract: camelCase in YAML, snake_case in Python, frozen, and as strict as the API.

    Documents come in through `asyncdiff_api.validation.load`, which also fills in null as "not set"; the
    constructors take Python values (enums, tuples), not documents.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
    )


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

DNS_LABEL = Text(
    63, 1, f"^{_LABEL}$", "a name of lower-case letters, digits and '-', with '-' at neither end"
)
OBJECT_NAME = Text(
    253,
    1,
    rf"^{_LABEL}(\.{_LABEL})*$",
    "the name of a Kubernetes object: lower-case letters, digits, '-' and '.', such as hub-token",
)
HUB_REPOSITORY = Text(
    200,
    1,
    "^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
    "a repository of the model hub, such as stabilityai/stable-diffusion-xl-base-1.0",
)
HUB_REVISION = Text(
    200, 1, "^[A-Za-z0-9_][A-Za-z0-9_./-]*$", "a commit, tag or branch of the repository, such as main"
)
S3_ADDRESS = Text(
    1124, 1, "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+$", "an S3 address, such as s3://bucket/path"
)
INPUT_ADDRESS = Text(2048, 1, "^(s3|https)://[^/]+/.+$", "an s3:// or https:// address")
CLASS_NAME = Text(128, 1, "^[A-Z][A-Za-z0-9_]*$", "the name of a class of diffusers")
RELATIVE_PATH = Text(1024, 0, "^[^/]", "a path inside the volume, without a leading '/'").or_empty()
