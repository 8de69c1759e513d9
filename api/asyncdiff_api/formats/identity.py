"""Item identity: the resolved request of one item, and the id that is its hash.

Two items are the same item exactly when their resolved requests are the same, wherever and however they are
made: the id is in the object's key, so a resumed, repeated or moved job finds what exists. Not in the
request: hardware, software versions, batch, pods, addresses of inputs (their contents' digests are).

A value that is absent (null, an empty text, list or map) is left out of the hashed text. So a later version
may add a field whose absence means "as before" without giving every item a new id. What a person or the
engine wrote freely (`VERBATIM`) is hashed as it stands once it is not empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field, JsonValue, StringConstraints

from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.document import FormatModel
from asyncdiff_api.formats.primitives import Seed

IDENTITY_VERSION: Final = 1
"""Hashed into every id. Another number gives every item another id: it makes old outputs unfindable."""

ITEM_ID_DIGITS: Final = 24
"""Hexadecimal digits of an item id: the first 96 bits of a SHA-256.

Among 10 million items two share an id with probability (10⁷)² / 2⁹⁷ < 10⁻¹⁵; 64 bits would give 10⁻⁶, too
much when a collision loses a picture without a word. Lower-case hexadecimal is safe in keys, URLs, Kubernetes
labels and file systems that ignore case, and is what `sha256sum` prints.
"""

VERBATIM: Final = frozenset({"options", "schedule", "config"})
"""Keys whose values are hashed as they stand: an explicit null in them differs from nothing."""

ItemId = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{ITEM_ID_DIGITS}}}$")]
InputDigest = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+:\S{1,256}$")]
JsonMap = dict[str, JsonValue]


class AdapterIdentity(FormatModel):
    """One adapter as it is loaded."""

    kind: str
    source: str
    """As `ModelIdentity.source`."""
    commit: str = ""
    file: str = ""
    weight: float = 1.0


class QuantizationIdentity(FormatModel):
    """Weights in fewer bits."""

    backend: str
    components: tuple[str, ...] = ()
    options: JsonMap = Field(default_factory=dict)


class ModelIdentity(FormatModel):
    """The model as it is loaded, every moving name resolved."""

    source: str
    """`hub:owner/name`, `s3://bucket/folder/`, `volume:claim/path` or `bundled:name`."""
    commit: str
    """Commit of a hub repository; for other sources a digest of their files."""
    dtype: str
    pipeline: str = ""
    variant: str = ""
    vae: str = ""
    """Source of another VAE."""
    vae_commit: str = ""
    adapters: tuple[AdapterIdentity, ...] = ()
    quantization: QuantizationIdentity | None = None


class SchedulerIdentity(FormatModel):
    """A scheduler by diffusers' class name; empty means the model's own."""

    class_name: Annotated[str, Field(alias="class")] = ""
    config: JsonMap = Field(default_factory=dict)


class EncodingIdentity(FormatModel):
    """The form of the file."""

    format: str = "PNG"
    quality: int | None = None


class ItemRequest(FormatModel):
    """Everything that decides an item's bytes, as far as a request can."""

    identity_version: int = IDENTITY_VERSION
    model: ModelIdentity
    schedule: JsonMap = Field(default_factory=dict)
    """The strategy and its parameters as `job.json` pins them."""
    attention_backend: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    seed: Seed
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    fps: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: SchedulerIdentity = SchedulerIdentity()
    inputs: dict[str, InputDigest] = Field(default_factory=dict)
    """Digest of each input's content by the input's name: `sha256:…`, or `etag:…` for want of it."""
    options: JsonMap = Field(default_factory=dict)
    encoding: EncodingIdentity = EncodingIdentity()

    def canonical(self) -> bytes:
        """Gives the text that is hashed.

        Raises:
            NotCanonicalError: A value has no canonical text, such as NaN in an option.
        """
        return canonical_json(identity_document(self))

    @property
    def item_id(self) -> str:
        """The item's id: `ITEM_ID_DIGITS` hexadecimal digits."""
        return item_id_of(self.canonical())


def item_id_of(canonical_request: bytes) -> str:
    """Gives the id of a request from its canonical text."""
    return hashlib.sha256(canonical_request).hexdigest()[:ITEM_ID_DIGITS]


def identity_document(model: FormatModel) -> dict[str, object]:
    """Gives the model as JSON types, absent values left out."""
    return _pruned_map(model.model_dump())


def is_absent(value: object) -> bool:
    """Whether a value counts as not given: None, or an empty text, list or map. Zero and false are given."""
    return value is None or (not value and isinstance(value, str | list | tuple | Mapping))


def _pruned_map(values: Mapping[str, object]) -> dict[str, object]:
    pruned = {key: value if key in VERBATIM else _pruned(value) for key, value in values.items()}
    return {key: value for key, value in pruned.items() if not is_absent(value)}


def _pruned(value: object) -> object:
    if isinstance(value, Mapping):
        return _pruned_map(value)
    if isinstance(value, list | tuple):
        return [_pruned(item) for item in value]
    return value
