"""From an item's request, as its file carries it, back to a job that makes exactly this item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.identity import IDENTITY_VERSION, ItemRequest, JsonMap, is_absent
from asyncdiff_api.formats.items import Resolver, Shared
from asyncdiff_api.formats.request import BUNDLED, HUB, VOLUME, model_identity
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_api.job import API_VERSION, KIND, AsyncDiffJob
from asyncdiff_api.validation import load

from asyncdiff_runtime.batch.schedule import schedule_of

NAME_DIGITS: Final = 8


def job_of_item(request: ItemRequest) -> JsonMap:
    """Gives the document of a job whose only item has the request's id.

    Everything that is part of an identity is written out, so that a later default changes nothing. The output
    is a volume, in place of which `asyncdiff run` takes a folder.

    Raises:
        InvalidJobError: The item was made of input files, or of what no job of this version asks for.
    """
    if request.inputs:
        named = ", ".join(f"{name} ({digest})" for name, digest in request.inputs.items())
        raise InvalidJobError(
            f"the item was made of input files, of which it knows the content and not the place: {named}; "
            "write a worklist line that names them"
        )
    document: JsonMap = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": f"again-{request.item_id[:NAME_DIGITS]}"},
        "spec": {
            "model": _model(request),
            "generate": _generate(request),
            "parallelism": _parallelism(request),
            "output": {
                "volume": {"claimName": "pictures"},
                "format": request.encoding.format,
                **({"encoderQuality": request.encoding.quality} if request.encoding.quality else {}),
            },
        },
    }
    try:
        job = load(document)
    except InvalidJobError as error:  # a worklist line may have a longer prompt and a larger seed
        raise InvalidJobError(
            f"no job without a worklist holds this item; write it as a line of one: {error}"
        ) from error
    _check(job, request)
    return document


def _model(request: ItemRequest) -> JsonMap:
    model = request.model
    quantization = model.quantization
    return _given(
        {
            **_place(model.source, model.commit),
            "dtype": model.dtype,
            "pipeline": model.pipeline,
            "variant": model.variant,
            "vae": model.vae.removeprefix(HUB),
            "vaeRevision": model.vae_commit,
            "adapters": [
                _given(
                    {
                        "kind": adapter.kind,
                        **_place(adapter.source, adapter.commit),
                        "file": adapter.file,
                        "weight": adapter.weight,
                    }
                )
                for adapter in model.adapters
            ],
            "quantization": quantization and _given(quantization.model_dump(mode="json")),
        }
    )


def _place(source: str, commit: str) -> JsonMap:
    """Gives the fields that name a model's source, as `ModelIdentity.source` writes it."""
    if source.startswith(BUNDLED):
        return {"bundled": source.removeprefix(BUNDLED)}
    if source.startswith(VOLUME):
        claim, _, path = source.removeprefix(VOLUME).partition("/")
        return {"volume": {"claimName": claim, "path": path}}
    if source.startswith(HUB):
        return {"repository": source.removeprefix(HUB), "revision": commit}
    return {"s3": source}


def _generate(request: ItemRequest) -> JsonMap:
    return _given(
        {
            "prompts": [request.prompt],
            "seeds": {"start": request.seed, "count": 1},
            "negativePrompt": request.negative_prompt,
            "scheduler": _given(request.scheduler.model_dump(mode="json")),
            "steps": request.steps,
            "guidanceScale": request.guidance_scale,
            "height": request.height,
            "width": request.width,
            "frames": request.frames,
            "fps": request.fps,
            "options": request.options,
        }
    )


def _parallelism(request: ItemRequest) -> JsonMap:
    strategy = str(request.schedule.get("strategy", ""))
    section = {name: value for name, value in request.schedule.items() if name != "strategy"}
    name = strategy[:1].lower() + strategy[1:]
    return _given(
        {
            "strategy": strategy,
            name: section,
            "gpusPerPod": section.get("degree", 1),
            "device": "CPU" if request.model.source.startswith(BUNDLED) else None,
            "attentionBackend": request.attention_backend,
        }
    )


def _given(values: Mapping[str, Any]) -> JsonMap:
    return {name: value for name, value in values.items() if not is_absent(value)}


def _check(job: AsyncDiffJob, request: ItemRequest) -> None:
    """Refuses a job whose item would be another one.

    Raises:
        InvalidJobError: This version resolves the job to something else than the request.
    """
    spec, model = job.spec, request.model
    identity = model_identity(
        spec.model,
        model.commit,
        vae_commit=model.vae_commit,
        adapter_commits=tuple(adapter.commit for adapter in model.adapters),
    )
    shared = Shared(
        generate=spec.generate,
        model=identity,
        schedule=schedule_of(spec.parallelism),
        attention_backend=spec.parallelism.attention_backend,
        encoding=request.encoding,
    )
    (item,) = Resolver(shared).items(Position(0, 1), WorklistLine(prompt=request.prompt))
    if item.id != request.item_id or request.identity_version != IDENTITY_VERSION:
        raise InvalidJobError(
            f"the item {request.item_id} was made by another version, and a job of this one would make {item.id}; "
            "use the versions that the file names"
        )
