"""What may change once a job exists, and how several writers share it: before a real API server."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.describe import Kind, leaves
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.status import JobStatus
from asyncdiff_api.validation import load
from hypothesis import strategies as st
from support.admission import REQUESTS_AT_ONCE, as_kubectl_sends, install_crd, sample
from support.cluster import ApiError
from support.cluster.api import APPLY_PATCH
from support.jobs import job, jobs
from support.settle import settle
from support.spoil import another_value

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn
    from support.cluster import Api, Cluster

Document = dict[str, Any]


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """A cluster's API that knows the CRD."""
    install_crd(cluster.api)
    return cluster.api


def changed(api: Api, before: Document, after: Document) -> str:
    """Creates one job, puts the other in its place, and returns the refusal, if there is one."""
    stored = api.create(before)
    try:
        api.replace({**stored, "spec": after["spec"]})
    except ApiError as error:
        return error.message
    finally:
        api.delete(stored)
    return ""


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("spec.model.dtype", "float16", "float32"),
        ("spec.model.repository", "a/b", "a/c"),
        ("spec.model.quantization", None, {"backend": "torchao"}),
        ("spec.model.adapters", [], [{"kind": "LoRA", "repository": "a/b"}]),
        ("spec.generate.prompts", ["a", "b"], ["b", "a"]),
        ("spec.generate.steps", None, 20),
        ("spec.generate.steps", 20, None),
        ("spec.generate.seeds.count", 4, 8),
        ("spec.generate.options", {"eta": {"inner": [1, 2]}}, {"eta": {"inner": [1, 3]}}),
        ("spec.generate.inputs.image", "s3://inputs/a.png", "s3://inputs/b.png"),
        ("spec.parallelism.gpusPerPod", 1, 2),
        ("spec.parallelism.shards", 1, None),
        ("spec.parallelism.patches", {"warmupSteps": 2}, {"warmupSteps": 3}),
        ("spec.parallelism.batchSize", "Auto", 4),
        ("spec.output.s3", {"bucket": "abc", "prefix": "a"}, {"bucket": "abc", "prefix": "b"}),
        ("spec.acceptance.rejectBlank", True, False),
        ("spec.run.queueName", "", "renders"),
        ("spec.pod.env", [{"name": "A", "value": "1"}], [{"name": "A", "value": "2"}]),
        ("spec.pod.labels", {"a": "1"}, {"a": "2"}),
        ("spec.pod.resources.limits", {"cpu": "1"}, {"cpu": 1}),
    ],
)
def test_a_fixed_field_is_named_in_the_refusal_of_its_change(
    api: Api, namespace: str, path: str, before: Any, after: Any
) -> None:
    base = {"metadata.namespace": namespace}
    refusal = changed(api, job({**base, path: before}), job({**base, path: after}))
    assert f"{path}: Forbidden: {path} is fixed once the job exists" in refusal
    assert refusal.count("is fixed") == 1


def free_form_fields() -> list[str]:
    return [leaf.dotted for leaf in leaves("spec") if leaf.kind is Kind.FREE_FORM]


def with_options(path: str, options: Document) -> dict[str, Any]:
    """The changes that put a free-form object at the path of its field, and what it cannot be without."""
    if path == "spec.model.quantization.options":
        return {"spec.model.quantization": {"backend": "torchao", "options": options}}
    return {path: options}


@pytest.mark.parametrize("path", free_form_fields())
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"b": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1.5}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": None}),
        ({"a": None}, {"b": None}),
        ({"a": None}, {}),
        ({"a": True, "b": 1}, {"a": True, "c": 1}),
        ({"a": {"b": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 1}}}),
        ({"a": [1, {"b": None}]}, {"a": [1, {"c": None}]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
    ],
    ids=json.dumps,
)
def test_a_free_form_object_is_fixed_in_its_names_and_values_at_every_depth(
    api: Api, namespace: str, path: str, before: Document, after: Document
) -> None:
    base = {"metadata.namespace": namespace}
    old, new = (job({**base, **with_options(path, options)}) for options in (before, after))
    field = path.removesuffix(".options") if "quantization" in path else path
    assert f"{field}: Forbidden: {field} is fixed once the job exists" in changed(api, old, new)
    assert changed(api, new, old) != ""
    assert changed(api, old, old) == ""


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("spec.parallelism.pods", 1, 8),
        ("spec.acceptance.maxFailedItems", 0, 3),
        ("spec.run.suspend", False, True),
        ("spec.run.suspend", True, False),
        ("spec.run.startDeadlineSeconds", 900, 60),
        ("spec.run.activeDeadlineSeconds", None, 3600),
        ("spec.run.activeDeadlineSeconds", 3600, None),
        ("spec.run.ttlSecondsAfterFinished", 5, 0),
        ("spec.run.forceDeleteAfterSeconds", None, 300),
    ],
)
def test_a_mutable_field_may_change(api: Api, namespace: str, path: str, before: Any, after: Any) -> None:
    base = {"metadata.namespace": namespace}
    assert changed(api, job({**base, path: before}), job({**base, path: after})) == ""


@st.composite
def updates(draw: DrawFn) -> Document:
    """A job, and the same with one or two values changed; both valid by themselves."""
    before = draw(jobs())
    after = copy.deepcopy(before)
    for _ in range(draw(st.integers(1, 2))):
        another_value(draw, after)
        settle(after["spec"])
    return {"before": before, "after": after}


def fixed_part(job: AsyncDiffJob) -> str:
    """What may not change: the spec without its mutable fields, lists with a key in the order of their keys."""
    spec = job.document()
    queued = job.spec.run.queue_name != ""
    for leaf in leaves("spec"):
        if leaf.mutable and not (queued and leaf.path[-1] == "pods"):
            *parents, name = leaf.path
            owner = spec
            for parent in parents:
                owner = owner[parent]
            owner.pop(name, None)
    for name in ("env", "imagePullSecrets"):
        spec["spec"]["pod"][name].sort(key=lambda entry: entry["name"])
    return json.dumps(as_kubectl_sends(spec["spec"]), sort_keys=True)


def test_an_update_is_taken_where_only_mutable_fields_change(api: Api, namespace: str) -> None:
    pairs = sample(updates(), 300, start=7)

    def refusal(position: int) -> str:
        pair = as_kubectl_sends(pairs[position])
        pair["before"]["metadata"] = {"name": f"job-{position}", "namespace": namespace}
        stored = api.create(pair["before"])
        try:
            api.replace({**stored, "spec": pair["after"]["spec"]}, dry_run=True)
        except ApiError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        refusals = list(threads.map(refusal, range(len(pairs))))
    same = [fixed_part(load(pair["before"])) == fixed_part(load(pair["after"])) for pair in pairs]
    assert [
        pair for pair, told, equal in zip(pairs, refusals, same, strict=True) if (told == "") != equal
    ] == []
    assert min(same.count(True), same.count(False)) > 20


def test_pods_are_fixed_in_a_queue(api: Api, namespace: str) -> None:
    base = {"metadata.namespace": namespace, "spec.run.queueName": "renders"}
    refusal = changed(api, job(base), job({**base, "spec.parallelism.pods": 2}))
    assert "spec.parallelism.pods: Forbidden: pods is fixed with run.queueName" in refusal


def test_a_job_in_a_queue_is_not_suspended_by_hand(api: Api, namespace: str) -> None:
    base = {"metadata.namespace": namespace, "spec.run.queueName": "renders"}
    refusal = changed(api, job(base), job({**base, "spec.run.suspend": True}))
    assert "spec.run.suspend: Forbidden: with queueName it is Kueue that suspends" in refusal


def test_scaling_sets_pods_and_reports_the_pods_that_run(api: Api, namespace: str) -> None:
    stored = api.create(job({"metadata.namespace": namespace}))
    api.patch(stored, {"status": {"pods": 1, "selector": "asyncdiff.dev/job=posters"}}, subresource="status")
    scale = api.get(stored, subresource="scale")
    assert scale["spec"]["replicas"] == 1
    assert scale["status"] == {"replicas": 1, "selector": "asyncdiff.dev/job=posters"}
    api.patch(stored, {"spec": {"replicas": 6}}, subresource="scale")
    assert api.get(stored)["spec"]["parallelism"]["pods"] == 6
    with pytest.raises(ApiError, match="should be greater than or equal to 1"):
        api.patch(stored, {"spec": {"replicas": 0}}, subresource="scale")


def test_scaling_a_job_in_a_queue_is_refused(api: Api, namespace: str) -> None:
    stored = api.create(job({"metadata.namespace": namespace, "spec.run.queueName": "renders"}))
    with pytest.raises(ApiError, match=r"pods is fixed with run\.queueName"):
        api.patch(stored, {"spec": {"replicas": 6}}, subresource="scale")


def test_two_managers_keep_a_condition_each(api: Api, namespace: str) -> None:
    stored = api.create(job({"metadata.namespace": namespace}))

    def report(manager: str, kind: str) -> Document:
        condition = {
            "type": kind,
            "status": "True",
            "reason": "Tested",
            "message": f"from {manager}",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        named = {key: stored[key] for key in ("apiVersion", "kind")}
        body = {
            **named,
            "metadata": {"name": stored["metadata"]["name"], "namespace": namespace},
            "status": {"conditions": [condition]},
        }
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        path = api.path(stored, "status")
        return api.request("PATCH", path, body, query=query, content_type=APPLY_PATCH)

    report("asyncdiff", "Complete")
    both = report("auditor", "Audited")
    assert {entry["type"] for entry in both["status"]["conditions"]} == {"Complete", "Audited"}
    with pytest.raises(ApiError, match="conflict"):
        report("auditor", "Complete")


def test_two_managers_own_a_field_of_the_spec_each(api: Api, namespace: str) -> None:
    api.apply(job({"metadata.namespace": namespace}), manager="pipeline")
    named = {key: value for key, value in job({"metadata.namespace": namespace}).items() if key != "spec"}
    api.apply({**named, "spec": {"parallelism": {"pods": 4}}}, manager="autoscaler", force=True)
    stored = api.apply(job({"metadata.namespace": namespace}), manager="pipeline")
    assert stored["spec"]["parallelism"]["pods"] == 4


def test_everything_that_the_operator_may_report_is_stored(api: Api, namespace: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status: Document = {
        "observedGeneration": 1,
        "phase": "Running",
        "conditions": [
            {
                "type": "Progressing",
                "status": "True",
                "reason": "Generating",
                "message": "8 of 64 items are in work",
                "lastTransitionTime": now,
                "observedGeneration": 1,
            }
        ],
        "items": {"total": 64, "done": 40, "failed": 0, "rejected": 0, "running": 8},
        "shards": {"total": 4, "succeeded": 2, "running": 2, "failed": 0},
        "accountedShards": ["0-1", "3"],
        "accountedItems": {"total": 32, "done": 32, "failed": 0, "rejected": 0, "running": 0},
        "accountedGpuSeconds": {"load": 10.0, "compile": 45.0, "generate": 400.0, "upload": 0.5, "idle": 1.5},
        "throughput": {
            "itemsPerSecond": 0.5,
            "itemsPerGpuHour": 450.0,
            "secondsPerItem": {"p50": 8.1, "p95": 9.5},
            "millisecondsPerStep": 8.9,
            "speedup": 3.7,
            "gpuSeconds": {"load": 20.0, "compile": 90.0, "generate": 800.0, "upload": 1.5, "idle": 2.5},
        },
        "plan": {
            "strategy": "Lookahead",
            "stages": 2,
            "dataParallel": 2,
            "predictedSecondsPerItem": 8.0,
            "reason": "fastest of 3 layouts that fit",
        },
        "output": {"uri": "s3://renders/posters/", "manifest": "s3://renders/m", "gallery": "s3://renders/g"},
        "resolved": {"modelCommit": "462165984030", "schedule": "sha256:ab", "image": "runtime@sha256:cd"},
        "pods": 2,
        "selector": "asyncdiff.dev/job=posters",
        "startTime": now,
        "completionTime": now,
        "estimatedCompletionTime": now,
    }
    stored = api.create(job({"metadata.namespace": namespace}))
    read = api.patch(stored, {"status": status}, subresource="status")["status"]
    assert read == status
    parsed = JobStatus.model_validate_json(json.dumps(read))
    assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True) == status
    assert status.keys() == {leaf.path[1] for leaf in leaves("status")}
