"""Every sample manifest is a valid job, to Python and to the API server, and says first what it shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from asyncdiff_api.job import KIND, AsyncDiffJob
from asyncdiff_api.parallelism import Strategy
from asyncdiff_api.validation import load, validate
from support.admission import install_crd

if TYPE_CHECKING:
    from support.cluster import Cluster

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)


def jobs_in(sample: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(sample.read_text()) if document["kind"] == KIND]


@samples
def test_a_sample_is_valid(sample: Path) -> None:
    (job,) = jobs_in(sample)
    assert isinstance(validate(job), AsyncDiffJob)


@samples
def test_a_sample_begins_with_what_it_shows(sample: Path) -> None:
    first = sample.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) <= 120


@samples
def test_kubectl_accepts_a_sample(sample: Path, cluster: "Cluster", namespace: str) -> None:
    install_crd(cluster.api)
    applied = cluster.kubectl(
        "apply", "--dry-run=server", "--namespace", namespace, "--filename", str(sample)
    )
    documents = len(list(yaml.safe_load_all(sample.read_text())))
    assert str(applied).count("created (server dry run)") == documents


def test_there_is_a_sample_of_every_strategy() -> None:
    shown = {load(job).spec.parallelism.strategy for sample in SAMPLES for job in jobs_in(sample)}
    assert shown == set(Strategy)


def test_samples_have_names_of_their_own() -> None:
    names = [job["metadata"]["name"] for sample in SAMPLES for job in jobs_in(sample)]
    assert len(names) == len(set(names))
