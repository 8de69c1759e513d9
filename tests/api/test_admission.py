"""Jobs before a real API server: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.crd import crd
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import load, validate
from support import bad_jobs
from support.admission import install_crd, judge, judge_all, sample
from support.jobs import job, jobs
from support.spoil import spoiled_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from support.bad_jobs import BadJob
    from support.cluster import Api, Cluster

Document = dict[str, Any]

CHUNKS, CHUNK_SIZE = 10, 250


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """A cluster's API that knows the CRD."""
    install_crd(cluster.api)
    return cluster.api


def test_the_crd_is_taken_without_complaint(api: Api) -> None:
    conditions = {entry["type"]: entry["status"] for entry in api.get(crd())["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("bad", bad_jobs.SPEC, ids=lambda bad: bad.name)
def test_a_broken_rule_is_refused_in_the_words_of_the_python_rule(api: Api, bad: BadJob) -> None:
    problems = validate(bad.document())
    assert not isinstance(problems, AsyncDiffJob)
    assert set(judge(api, bad.document()).causes) == {
        (problem.dotted, problem.message) for problem in problems
    }


@pytest.mark.parametrize("bad", bad_jobs.ALL, ids=lambda bad: bad.name)
def test_the_remedy_is_taken(api: Api, bad: BadJob) -> None:
    assert judge(api, bad.remedied()).refusal == ""


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.generate.steps", "4", "must be of type integer"),
        ("spec.generate.steps", 0, "greater than or equal to 1"),
        ("spec.generate.guidanceScale", 101, "less than or equal to 100"),
        ("spec.generate.prompts", ["a"] * 257, "must have at most 256 items"),
        ("spec.generate.negativePrompt", "a" * 1025, "Too long: may not be more than 1024 bytes"),
        ("spec.generate.step", 4, 'unknown field "spec.generate.step"'),
        ("spec.parallelism.batchSize", "Many", "should match '^(Auto)$'"),
        ("spec.parallelism.strategy", "Best", 'supported values: "Auto", "Data"'),
        ("spec.parallelism.compile", False, "must be of type string"),
        ("spec.output.s3.bucket", None, "Required value"),
        ("metadata.name", "Posters", "metadata.name"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_path(
    api: Api, path: str, value: Any, words: str
) -> None:
    document = job({path: value})
    refusal = judge(api, document).refusal
    assert words in refusal
    assert path in refusal
    assert not isinstance(validate(document), AsyncDiffJob)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_python_and_the_api_server_give_the_same_verdict(api: Api, chunk: int) -> None:
    """On 5 000 documents in all; and where both say yes, they fill in the same defaults."""
    documents = [*sample(jobs(), CHUNK_SIZE, chunk), *sample(spoiled_jobs(), CHUNK_SIZE, chunk)]
    disagreements = []
    for document, verdict in zip(documents, judge_all(api, documents), strict=True):
        result = validate(document)
        stored = None if verdict.stored is None else verdict.stored["spec"]
        mine = result.document()["spec"] if isinstance(result, AsyncDiffJob) else None
        if mine != stored:
            disagreements.append((document, result, verdict))
    assert disagreements == []


def test_a_stored_job_reads_back_as_python_reads_its_document(api: Api, namespace: str) -> None:
    for position, document in enumerate(sample(jobs(), 20, start=99)):
        document["metadata"] = {"name": f"job-{position}", "namespace": namespace}
        api.create(document)
        assert load(api.get(document)).spec == load(document).spec


def test_the_largest_job_stays_within_the_cost_that_rules_may_have(api: Api, namespace: str) -> None:
    adapter = {"kind": "LoRA", "repository": "a" * 200, "revision": "b" * 200, "file": "c" * 256}
    source = {"secretKeyRef": {"name": "s" * 253, "key": "k" * 253}}
    large = {
        "metadata.namespace": namespace,
        "spec.model.adapters": [adapter] * 16,
        "spec.generate.prompts": ["é" * 1024] * 256,
        "spec.generate.options": {f"option{number}": ["x" * 100] * 100 for number in range(64)},
        "spec.parallelism": {
            "gpusPerPod": 16,
            "strategy": "AsyncStages",
            "asyncStages": {"stages": 16, "cut": ["a" * 256] * 16},
        },
        "spec.pod.env": [{"name": f"V{number}", "valueFrom": source} for number in range(64)],
        "spec.pod.labels": {f"example.com/{'l' * 50}{number}": "v" * 63 for number in range(32)},
        "spec.pod.annotations": {f"example.com/{'l' * 50}{number}": "v" * 4096 for number in range(32)},
        "spec.pod.tolerations": [{"key": "k" * 63, "value": "v" * 63}] * 32,
    }
    stored = api.create(job(large))
    stored["spec"]["run"]["suspend"] = True
    assert api.replace(stored)["metadata"]["generation"] == 2


def test_kubectl_knows_the_kind_by_its_short_name_and_explains_its_fields(api: Api, cluster: Cluster) -> None:
    named = job({"metadata.name": "columns"})
    api.create(named)
    lines = cluster.kubectl("get", "adj", "columns", "-o", "wide").splitlines()
    assert lines[0].split()[:8] == ["NAME", "PHASE", "DONE", "TOTAL", "ITEMS/S", "SPEED-UP", "ETA", "PLAN"]
    assert "columns" in cluster.kubectl("get", "all")
    explained = cluster.kubectl("explain", "adj.spec.parallelism.gpusPerPod")
    assert "Ranks per pod, one GPU each." in explained
    api.delete(named)


def test_kubectl_apply_says_what_to_do(api: Api, cluster: Cluster, tmp_path: Path) -> None:

    file = tmp_path / "job.json"
    file.write_text(json.dumps(job({"spec.generate.height": 1023})))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        cluster.kubectl("apply", "--dry-run=server", "-f", str(file))
    assert "spec.generate.height" in refused.value.stderr
    assert "1023 = 8 × 127 + 7; set it to 1016 or 1024" in refused.value.stderr
