"""A job's request: every identity field by its path, and what another job's request differs in."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncdiff_api.formats.blocks import blocking_of_items
from asyncdiff_api.formats.errors import AnotherJobError, UnsupportedVersionError, WorklistChangedError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.job_record import JobRecord, WorklistSource, differences, request_digest
from asyncdiff_api.formats.request import default_of, model_identity, request_of, source_of
from asyncdiff_api.generate import Generate, Seeds
from asyncdiff_api.job import AsyncDiffJob, JobSpec
from asyncdiff_api.model import Adapter, AdapterKind, Model, Quantization
from asyncdiff_api.output import S3, Output
from asyncdiff_api.parallelism import Lookahead, Parallelism
from asyncdiff_api.sources import ModelVolume
from pydantic import JsonValue

PLACE = "s3://renders/posters/job.json"


def job(**sections: Any) -> AsyncDiffJob:
    spec: dict[str, Any] = {
        "model": Model(repository="a/b"),
        "generate": Generate(prompts=("a fox",), steps=30),
        "output": Output(s3=S3(bucket="renders", prefix="posters/")),
    }
    return AsyncDiffJob(spec=JobSpec(**(spec | sections)))


def record(request: dict[str, JsonValue], **more: Any) -> JobRecord:
    return JobRecord(
        request_digest=request_digest(request),
        request=request,
        model=ModelIdentity(source="hub:a/b", commit="c" * 40, dtype="bfloat16"),
        schedule={"strategy": "Data"},
        blocks=blocking_of_items(1),
        attempt="0123abcd",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        **more,
    )


def test_a_request_names_identity_fields_by_path_and_leaves_out_the_rest() -> None:
    request = request_of(job(parallelism=Parallelism(pods=7, gpus_per_pod=4)))
    assert request["spec.generate.prompts"] == ["a fox"]
    assert request["spec.generate.steps"] == 30
    assert request["spec.model.repository"] == "a/b"
    assert not any("pods" in path or "gpusPerPod" in path or "bucket" in path for path in request)
    assert list(request) == sorted(request)
    assert not {"spec.model.pipeline", "spec.generate.negativePrompt", "spec.generate.options"} & set(request)


def test_entries_of_lists_are_numbered() -> None:
    adapters = (
        Adapter(kind=AdapterKind.LORA, repository="a/l", weight=0.5),
        Adapter(kind=AdapterKind.CONTROL_NET, repository="a/c"),
    )
    request = request_of(job(model=Model(repository="a/b", adapters=adapters)))
    assert request["spec.model.adapters[0].weight"] == 0.5
    assert request["spec.model.adapters[1].kind"] == "ControlNet"


def test_the_digest_follows_the_request_and_nothing_else() -> None:
    here = request_digest(request_of(job()))
    assert here == request_digest(request_of(job(parallelism=Parallelism(pods=9, shards=3))))
    assert here != request_digest(request_of(job(generate=Generate(prompts=("a fox",), steps=31))))


def test_another_job_on_the_same_prefix_is_refused_naming_the_field() -> None:
    begun = record(request_of(job()))
    another = request_of(job(generate=Generate(prompts=("a cat",), steps=31)))
    with pytest.raises(AnotherJobError) as caught:
        begun.obey(another, PLACE)
    assert str(caught.value) == (
        "s3://renders/posters/job.json belongs to a job that asked for something else: "
        'spec.generate.prompts is ["a fox"] there and ["a cat"] here; spec.generate.steps is 30 there and 31 '
        "here. Use another prefix, or ask for what it holds"
    )
    assert caught.value.exit_code is ExitCode.WRONG_JOB


def test_many_differences_are_counted_and_the_first_are_named() -> None:
    options: dict[str, JsonValue] = {"x" * 500: "y"}
    other = Generate(
        prompts=("b",), negative_prompt="c", steps=1, height=8, width=8, guidance_scale=1.0, options=options
    )
    with pytest.raises(AnotherJobError, match=r"; and 2 more\. Use another prefix") as caught:
        record(request_of(job())).obey(request_of(job(generate=other)), PLACE)
    assert len(str(caught.value)) < 1500


def test_the_same_job_with_other_pods_and_shards_goes_on() -> None:
    record(request_of(job())).obey(request_of(job(parallelism=Parallelism(pods=5, shards=9))), PLACE)


def test_a_field_that_a_record_does_not_mention_has_its_default_there() -> None:
    request = request_of(job())
    older = {path: value for path, value in request.items() if path != "spec.model.dtype"}
    assert "spec.model.dtype" in request
    record(older).obey(request, PLACE)
    assert [str(found) for found in differences(older, request | {"spec.model.dtype": "float16"})] == [
        'spec.model.dtype is "bfloat16" there and "float16" here'
    ]


def test_a_section_with_its_defaults_is_the_same_as_no_section() -> None:
    spelled_out = request_of(job(parallelism=Parallelism(lookahead=Lookahead())))
    assert differences(request_of(job()), spelled_out) == []
    changed = request_of(job(parallelism=Parallelism(lookahead=Lookahead(degree=4))))
    assert [found.path for found in differences(request_of(job()), changed)] == [
        "spec.parallelism.lookahead.degree"
    ]


def test_a_field_of_a_later_version_is_a_difference() -> None:
    later = request_of(job()) | {"spec.generate.strength": 0.5}
    assert [found.path for found in differences(later, request_of(job()))] == ["spec.generate.strength"]


def test_five_and_five_point_zero_are_the_same_request() -> None:
    here = request_of(job(generate=Generate(prompts=("a",), guidance_scale=5.0)))
    assert differences(here | {"spec.generate.guidanceScale": 5}, here) == []
    assert request_digest(here | {"spec.generate.guidanceScale": 5}) == request_digest(here)


def test_items_named_by_other_rules_are_not_touched() -> None:
    with pytest.raises(UnsupportedVersionError, match="identity version 2; this asyncdiff knows 1"):
        record(request_of(job()), identity_version=2).obey(request_of(job()), PLACE)


BEGUN = WorklistSource(source="s3://in/list.jsonl", etag='"abc"', bytes=100)


@pytest.mark.parametrize("change", [{"bytes": 101}, {"etag": '"def"'}, {"digest": f"sha256:{'0' * 64}"}])
def test_a_changed_worklist_is_refused(change: dict[str, Any]) -> None:
    begun = record({}, worklist=BEGUN)
    begun.check_worklist(BEGUN)
    begun.check_worklist(BEGUN.model_copy(update={"source": "s3://copy/list.jsonl"}))
    with pytest.raises(WorklistChangedError, match="put that file back, or use another prefix"):
        begun.check_worklist(BEGUN.model_copy(update=change))


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("spec.generate.seeds.count", Seeds().count),
        ("spec.model.adapters[3].weight", 1.0),
        ("spec.parallelism.strategy", "Auto"),
        ("spec.generate.steps", None),
        ("spec.generate.unheard", None),
    ],
)
def test_defaults_are_found_by_path(path: str, default: JsonValue) -> None:
    assert default_of(path) == default


@pytest.mark.parametrize(
    ("model", "source"),
    [
        (Model(repository="a/b"), "hub:a/b"),
        (Model(s3="s3://models/sdxl"), "s3://models/sdxl/"),
        (Model(s3="s3://models/sdxl/"), "s3://models/sdxl/"),
        (Model(volume=ModelVolume(claim_name="weights", path="sdxl")), "volume:weights/sdxl"),
        (Model(bundled="shapes-unet"), "bundled:shapes-unet"),
        (Adapter(kind=AdapterKind.LORA, s3="s3://loras/fox"), "s3://loras/fox/"),
    ],
)
def test_a_source_has_one_address(model: Model | Adapter, source: str) -> None:
    assert source_of(model) == source


def test_a_models_identity_holds_every_resolved_name() -> None:
    model = Model(
        repository="a/b",
        vae="a/vae",
        adapters=(Adapter(kind=AdapterKind.LORA, repository="a/l", file="x.safetensors", weight=0.5),),
        quantization=Quantization(backend="torchao", options={"bits": 4}),
    )
    identity = model_identity(model, "c1", vae_commit="c2", adapter_commits=("c3",))
    assert identity.model_dump(mode="json") == {
        "source": "hub:a/b",
        "commit": "c1",
        "dtype": "bfloat16",
        "pipeline": "",
        "variant": "",
        "vae": "hub:a/vae",
        "vaeCommit": "c2",
        "adapters": [
            {"kind": "LoRA", "source": "hub:a/l", "commit": "c3", "file": "x.safetensors", "weight": 0.5}
        ],
        "quantization": {"backend": "torchao", "components": [], "options": {"bits": 4}},
    }


def test_each_adapter_needs_its_commit() -> None:
    adapters = (Adapter(kind=AdapterKind.LORA, repository="a/l"),)
    with pytest.raises(ValueError, match="shorter"):
        model_identity(Model(repository="a/b", adapters=adapters), "c1")
