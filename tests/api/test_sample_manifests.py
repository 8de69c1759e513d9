"""Every sample manifest is a valid job, to Python and to the API server."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.validation import validate
from support.admission import install_crd

if TYPE_CHECKING:
    from support.cluster import Cluster

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)


@samples
def test_a_sample_is_valid(sample: Path) -> None:
    assert isinstance(validate(yaml.safe_load(sample.read_text())), AsyncDiffJob)


@samples
def test_kubectl_accepts_a_sample(sample: Path, cluster: "Cluster", namespace: str) -> None:
    install_crd(cluster.api)
    applied = cluster.kubectl(
        "apply", "--dry-run=server", "--namespace", namespace, "--filename", str(sample)
    )
    assert "created (server dry run)" in str(applied)
