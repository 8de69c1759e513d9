"""From a job's spec to what its formats pin: the request in `job.json`, and the model in every item's id.

Which fields belong to the request is said once, by the label `identity` of each field of the API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from asyncdiff_api.describe import Kind, Shape, find, job_shape
from asyncdiff_api.formats.identity import (
    AdapterIdentity,
    JsonMap,
    ModelIdentity,
    QuantizationIdentity,
    is_absent,
)
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.model import Adapter, Model

BUNDLED: Final = "bundled:"
HUB: Final = "hub:"
VOLUME: Final = "volume:"

_INDEX: Final = re.compile(r"\[\d+\]")


def request_of(job: AsyncDiffJob) -> JsonMap:
    """Gives every identity field of a job by its path, such as `spec.generate.steps`, in order.

    Absent values (null, an empty text, list or map) are left out. Entries of lists of objects have a number:
    `spec.model.adapters[0].weight`.
    """
    leaves = dict(_identity_leaves(job_shape(), job.document(), ""))
    return {path: leaves[path] for path in sorted(leaves) if not is_absent(leaves[path])}


def default_of(path: str) -> JsonValue:
    """Gives the value of an identity field that a request does not mention; None where it has none."""
    shape = find(_INDEX.sub("[]", path))
    return None if shape is None else shape.default


def source_of(place: Model | Adapter) -> str:
    """Gives the address of a model or an adapter as `ModelIdentity.source` writes it."""
    if place.repository is not None:
        return HUB + place.repository
    if place.s3 is not None:
        return place.s3 if place.s3.endswith("/") else f"{place.s3}/"
    if place.volume is not None:
        return f"{VOLUME}{place.volume.claim_name}/{place.volume.path}"
    return BUNDLED + str(getattr(place, "bundled", None) or "")


def model_identity(
    model: Model, commit: str, *, vae_commit: str = "", adapter_commits: tuple[str, ...] = ()
) -> ModelIdentity:
    """Gives the model's part of every item's identity.

    Args:
        model: The job's model.
        commit: What its revision was resolved to.
        vae_commit: The same of another VAE.
        adapter_commits: The same of each adapter, in order.

    Raises:
        ValueError: There is not one commit for each adapter.
    """
    quantization = model.quantization
    return ModelIdentity(
        source=source_of(model),
        commit=commit,
        dtype=str(model.dtype),
        pipeline=model.pipeline,
        variant=model.variant,
        vae=HUB + model.vae if model.vae else "",
        vae_commit=vae_commit,
        adapters=tuple(
            AdapterIdentity(
                kind=str(adapter.kind),
                source=source_of(adapter),
                commit=adapter_commit,
                file=adapter.file,
                weight=adapter.weight,
            )
            for adapter, adapter_commit in zip(model.adapters, adapter_commits, strict=True)
        ),
        quantization=quantization
        and QuantizationIdentity(
            backend=quantization.backend, components=quantization.components, options=quantization.options
        ),
    )


def _identity_leaves(shape: Shape, value: JsonValue, path: str) -> Iterator[tuple[str, JsonValue]]:
    if shape.identity and shape.is_leaf:
        yield path, value
    elif shape.fields and isinstance(value, Mapping):
        for name, field in shape.fields.items():
            if name in value:
                yield from _identity_leaves(field, value[name], f"{path}.{name}" if path else name)
    elif shape.kind is Kind.LIST and shape.entry is not None and isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _identity_leaves(shape.entry, entry, f"{path}[{at}]")
