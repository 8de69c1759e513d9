"""Item identity: the same request has the same id, another request another, now and in later versions."""

import json
from typing import Any

import pytest
from asyncdiff_api.describe import leaves
from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.errors import WorklistLineError
from asyncdiff_api.formats.identity import (
    ITEM_ID_DIGITS,
    VERBATIM,
    AdapterIdentity,
    EncodingIdentity,
    ItemRequest,
    ModelIdentity,
    QuantizationIdentity,
    SchedulerIdentity,
    identity_document,
)
from asyncdiff_api.formats.items import Resolver, Shared, collapse
from asyncdiff_api.formats.worklist import Position, WorklistLine, inputs_of, parse_line, seeds_of
from asyncdiff_api.generate import Generate, Inputs, Scheduler, Seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

HERE = Position(block=0, line=1)
MODEL = ModelIdentity(source="hub:a/b", commit="c" * 40, dtype="float16")
REQUEST = ItemRequest(model=MODEL, prompt="a fox", seed=7, steps=50, guidance_scale=5.0)

# Where each identity field of the API enters an item's request: the request's member, or what stands for it.
ENTERS_AS = {
    "spec.model": "model",
    "spec.generate.prompts": "prompt",
    "spec.generate.worklist": "prompt",
    "spec.generate.seeds": "seed",
    "spec.generate.negativePrompt": "negativePrompt",
    "spec.generate.scheduler": "scheduler",
    "spec.generate.steps": "steps",
    "spec.generate.guidanceScale": "guidanceScale",
    "spec.generate.height": "height",
    "spec.generate.width": "width",
    "spec.generate.frames": "frames",
    "spec.generate.fps": "fps",
    "spec.generate.inputs": "inputs",
    "spec.generate.options": "options",
    "spec.parallelism.attentionBackend": "attentionBackend",
    "spec.parallelism.strategy": "schedule",
    "spec.parallelism.guidanceSplit": "schedule",
    "spec.parallelism.lookahead": "schedule",
    "spec.parallelism.asyncStages": "schedule",
    "spec.parallelism.patches": "schedule",
    "spec.parallelism.quality": "schedule",
    "spec.parallelism.onCaptureFailure": "schedule",
    "spec.output.format": "encoding",
    "spec.output.encoderQuality": "encoding",
}


def test_every_identity_field_of_the_api_enters_the_items_request() -> None:
    members = {info.alias or name for name, info in ItemRequest.model_fields.items()}
    assert set(ENTERS_AS.values()) <= members
    for leaf in leaves():
        enters = any(leaf.dotted == path or leaf.dotted.startswith(f"{path}.") for path in ENTERS_AS)
        if leaf.identity:
            assert enters, (
                f"{leaf.dotted} is labelled identity: say in ENTERS_AS how it enters an item's request"
            )


CHANGES: dict[str, Any] = {
    "identity_version": 2,
    "model": MODEL.model_copy(update={"commit": "d" * 40}),
    "schedule": {"strategy": "Lookahead"},
    "attention_backend": "flash",
    "prompt": "a fox ",
    "negative_prompt": "blurry",
    "seed": 8,
    "height": 512,
    "width": 512,
    "frames": 16,
    "fps": 8,
    "steps": 49,
    "guidance_scale": 5.5,
    "scheduler": SchedulerIdentity(class_name="EulerDiscreteScheduler"),
    "inputs": {"image": "sha256:00"},
    "options": {"eta": 0},
    "encoding": EncodingIdentity(format="JPEG"),
}
MODEL_CHANGES: dict[str, Any] = {
    "source": "hub:a/c",
    "commit": "e" * 40,
    "dtype": "bfloat16",
    "pipeline": "StableDiffusionPipeline",
    "variant": "fp16",
    "vae": "hub:a/vae",
    "vae_commit": "f" * 40,
    "adapters": (AdapterIdentity(kind="LoRA", source="hub:a/l"),),
    "quantization": QuantizationIdentity(backend="torchao"),
}


@pytest.mark.parametrize("field", list(ItemRequest.model_fields))
def test_every_field_of_the_request_changes_the_id(field: str) -> None:
    assert REQUEST.model_copy(update={field: CHANGES[field]}).item_id != REQUEST.item_id


@pytest.mark.parametrize("field", list(ModelIdentity.model_fields))
def test_every_field_of_the_model_changes_the_id(field: str) -> None:
    model = MODEL.model_copy(update={field: MODEL_CHANGES[field]})
    assert REQUEST.model_copy(update={"model": model}).item_id != REQUEST.item_id


def test_an_absent_value_is_not_hashed_so_that_later_versions_can_add_fields() -> None:
    class LaterRequest(ItemRequest):
        strength: float | None = None
        tags: tuple[str, ...] = ()

    later = LaterRequest.model_validate(REQUEST.model_dump())
    assert later.item_id == REQUEST.item_id
    assert later.model_copy(update={"strength": 0.5}).item_id != REQUEST.item_id


def test_a_field_of_a_later_version_is_kept_and_hashed_by_this_one() -> None:
    class LaterRequest(ItemRequest):
        strength: float | None = None

    later = LaterRequest.model_validate(REQUEST.model_dump() | {"strength": 0.5})
    read_here = ItemRequest.model_validate_json(later.to_line())
    assert read_here.item_id == later.item_id
    assert read_here.to_line() == later.to_line()


def test_zero_and_false_are_values() -> None:
    for value in (0, False):
        assert REQUEST.model_copy(update={"options": {"eta": value}}).item_id != REQUEST.item_id
    assert REQUEST.model_copy(update={"guidance_scale": 0.0}).item_id != REQUEST.item_id


def test_what_a_person_wrote_freely_is_hashed_as_it_stands() -> None:
    with_null = REQUEST.model_copy(update={"options": {"eta": None}})
    assert with_null.item_id != REQUEST.item_id
    assert json.loads(with_null.canonical())["options"] == {"eta": None}


def test_the_free_maps_are_those_that_are_hashed_verbatim() -> None:
    models: list[type[BaseModel]] = [ItemRequest, ModelIdentity, QuantizationIdentity, SchedulerIdentity]
    free = {
        name
        for model in models
        for name, info in model.model_fields.items()
        if "JsonValue" in str(info.annotation)
    }
    assert free == VERBATIM


def test_an_id_is_a_lower_case_name_of_fixed_length() -> None:
    assert len(REQUEST.item_id) == ITEM_ID_DIGITS
    assert set(REQUEST.item_id) <= set("0123456789abcdef")


def test_ten_million_items_share_an_id_with_a_chance_below_one_in_a_billion() -> None:
    assert (10**7) ** 2 / 2 ** (4 * ITEM_ID_DIGITS + 1) < 1e-9


# The resolver writes an item's text in pieces; it must be the text of the whole request.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SIDES = st.integers(1, 2048).map(lambda eighth: 8 * eighth)
FREE = st.dictionaries(
    TEXT, st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | TEXT, max_size=3
)
SCHEDULERS = st.builds(
    lambda name, config: Scheduler(class_name=name, config=config),
    st.sampled_from(["", "DDIMScheduler"]),
    FREE,
)
ADDRESSES = st.sampled_from(["s3://in/a.png", "s3://in/b.png"])
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "negative_prompt": TEXT,
    "height": st.none() | SIDES,
    "width": st.none() | SIDES,
    "frames": st.none() | st.integers(1, 2048),
    "fps": st.none() | st.integers(1, 240),
    "steps": st.none() | st.integers(1, 1000),
    "guidance_scale": st.none() | st.floats(0, 100),
}
GENERATES = st.builds(
    Generate,
    seeds=st.builds(Seeds, start=st.integers(0, 2**53 - 1), count=st.integers(1, 3)),
    scheduler=SCHEDULERS,
    options=FREE,
    inputs=st.builds(Inputs, image=st.none() | ADDRESSES),
    **PLAIN,
)


@st.composite
def lines(draw: st.DrawFn) -> WorklistLine:
    said = {
        "prompt": TEXT,
        "id": TEXT,
        "seed": st.integers(0, 2**64 - 1),
        "negativePrompt": TEXT,
        "image": ADDRESSES,
        "mask": ADDRESSES,
        "width": SIDES,
        "height": SIDES,
        "steps": st.integers(1, 1000),
        "guidanceScale": st.floats(0, 100),
        "options": FREE,
        "scheduler": SCHEDULERS.map(lambda scheduler: scheduler.model_dump(by_alias=True)),
        "labels": st.dictionaries(TEXT, TEXT, max_size=2),
    }
    chosen = {key: draw(values) for key, values in said.items() if draw(st.booleans())}
    return parse_line(json.dumps({"prompt": "a fox"} | chosen).encode(), HERE)


@given(generate=GENERATES, line=lines(), schedule=FREE, backend=st.sampled_from(["", "flash"]))
@settings(max_examples=300, deadline=None)
def test_an_items_id_is_the_hash_of_its_whole_request(
    generate: Generate, line: WorklistLine, schedule: dict[str, Any], backend: str
) -> None:
    shared = Shared(generate=generate, model=MODEL, schedule=schedule, attention_backend=backend)
    resolver = Resolver(shared)
    digests = dict.fromkeys(inputs_of(line, generate), "sha256:ab")
    for seed in seeds_of(line, generate):
        item = resolver.item(HERE, line, seed, digests)
        request = resolver.request(item)
        assert item.id == request.item_id
        assert ItemRequest.model_validate_json(request.to_line()).item_id == item.id
        assert canonical_json(json.loads(request.canonical())) == request.canonical()


@given(generate=GENERATES, line=lines())
@settings(deadline=None)
def test_a_line_that_repeats_what_the_job_says_is_the_same_item(
    generate: Generate, line: WorklistLine
) -> None:
    resolver = Resolver(Shared(generate=generate, model=MODEL, schedule={}))
    digests = dict.fromkeys(inputs_of(line, generate), "sha256:ab")
    said = {name: getattr(generate, name) for name in PLAIN if getattr(line, name) is None}
    repeated = line.model_copy(
        update=said | {"options": generate.options | (line.options or {})},
    )
    repeated = WorklistLine.model_validate(repeated.model_dump(by_alias=True, exclude_none=True))
    assert resolver.item(HERE, repeated, 1, digests).id == resolver.item(HERE, line, 1, digests).id


def resolver_of(**generate: Any) -> Resolver:
    return Resolver(Shared(generate=Generate(**generate), model=MODEL, schedule={}))


def test_the_persons_own_names_are_no_part_of_the_identity() -> None:
    plain, named = WorklistLine(prompt="a"), WorklistLine(prompt="a", id="x", labels={"y": "z"})
    resolver = resolver_of()
    assert [item.id for item in resolver.items(HERE, plain)] == [
        item.id for item in resolver.items(HERE, named)
    ]


def test_duplicate_lines_collapse_and_are_counted() -> None:
    resolver = resolver_of()
    positions = [Position(block=0, line=number) for number in range(1, 5)]
    items = [
        item
        for position, prompt in zip(positions, ("a", "b", "a", "a"), strict=True)
        for item in resolver.items(position, WorklistLine(prompt=prompt))
    ]
    assert [(item.position.line, more) for item, more in collapse(items).values()] == [(1, 2), (2, 0)]


@pytest.mark.parametrize(
    ("line", "digests", "words"),
    [
        (WorklistLine(seed=1), {}, "has neither 'prompt' nor 'image'"),
        (WorklistLine(prompt="a", image="s3://in/a.png"), {}, "needs the digest of each input"),
        (WorklistLine(prompt="a"), {"image": "sha256:ab"}, "needs the digest of each input"),
        (
            WorklistLine(prompt="a", options={"eta": 2**70}),
            {},
            "options.eta is a whole number beyond 64 bits",
        ),
    ],
)
def test_a_line_that_makes_no_item_is_refused_by_its_place(
    line: WorklistLine, digests: dict[str, str], words: str
) -> None:
    with pytest.raises(WorklistLineError) as caught:
        resolver_of().item(Position(block=3, line=2, offset=99), line, 0, digests)
    assert str(caught.value).startswith("line 2 of block 3 of the worklist (byte 99): ")
    assert words in str(caught.value)


def test_an_option_of_the_line_stands_before_the_jobs() -> None:
    resolver = resolver_of(options={"eta": 0.5, "clip_skip": 1})
    item = resolver.item(HERE, WorklistLine(prompt="a", options={"eta": 0.1}), 0, {})
    assert resolver.request(item).options == {"eta": 0.1, "clip_skip": 1}


def test_an_image_alone_is_enough() -> None:
    line = WorklistLine(image="s3://in/a.png")
    item = resolver_of().item(HERE, line, 0, {"image": "sha256:ab"})
    assert item.id != resolver_of().item(HERE, line, 0, {"image": "sha256:cd"}).id


def test_the_identity_document_of_a_request_names_no_absent_value() -> None:
    assert identity_document(REQUEST) == {
        "identityVersion": 1,
        "model": {"source": "hub:a/b", "commit": "c" * 40, "dtype": "float16"},
        "prompt": "a fox",
        "seed": 7,
        "steps": 50,
        "guidanceScale": 5.0,
        "encoding": {"format": "PNG"},
    }
