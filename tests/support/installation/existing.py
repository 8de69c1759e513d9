"""The fixture on a cluster that is there already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.cluster import reference
from support.cluster.access import Access
from support.e2e import MADE_BY_TESTS
from support.installation.installation import RELEASE, SYSTEM, Installation, installed

CRD = reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "asyncdiffjobs.asyncdiff.dev")


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator, ready, on the cluster of the context `E2E_CONTEXT`; removed afterwards."""
    context, address = os.environ["E2E_CONTEXT"], os.environ.get("E2E_ADDRESS", "")
    if not address:
        pytest.fail(
            "set E2E_ADDRESS to an address of this machine that pods of the cluster reach", pytrace=False
        )
    access = Access.of_context(context, tmp_path_factory.mktemp("access"))
    if access.api.find(CRD):
        pytest.fail(
            f"the cluster of context {context} knows AsyncDiffJobs already; these tests install and remove "
            "the operator, and with it all jobs. Choose another cluster",
            pytrace=False,
        )
    images = os.environ.get("E2E_IMAGES") or "localhost"
    with installed_and_removed(access, tmp_path_factory.mktemp("helm"), address, images) as found:
        yield found


@contextmanager
def installed_and_removed(access: Access, folder: Path, address: str, images: str) -> Iterator[Installation]:
    """As `installed`, and takes everything out of the cluster again."""
    try:
        with installed(access, folder, address, images) as found:
            yield found
            found.helm.run("uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait")
    finally:
        remove(access)


def remove(access: Access) -> None:
    """Removes what the tests have made."""
    access.kubectl("delete", "customresourcedefinition", CRD["metadata"]["name"], "--ignore-not-found")
    made = [
        found["metadata"]["name"]
        for found in access.api.items(reference("v1", "Namespace"))
        if found["metadata"].get("labels", {}).get(MADE_BY_TESTS)
    ]
    access.kubectl("delete", "namespace", "--ignore-not-found", SYSTEM, *made)
    access.kubectl("delete", "service,endpointslice", "--namespace=default", "--ignore-not-found", "s3")
