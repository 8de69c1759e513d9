"""Environment variables of the container: ours that a person may change, the person's own, ours that nobody may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncdiff_api.formats import container
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.names import trace_id
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.settings import Defaults

CHANGEABLE: Mapping[str, str] = {
    # The root file system is read-only, and libraries write where these point.
    "HOME": str(container.TEMPORARY),
    "TMPDIR": str(container.TEMPORARY),
    "XDG_CACHE_HOME": str(container.CACHE),
    "HF_HOME": str(container.CACHE / "huggingface"),
    "TORCHINDUCTOR_CACHE_DIR": str(container.CACHE / "inductor"),
    "TRITON_CACHE_DIR": str(container.CACHE / "triton"),
}


CERTIFICATES: Mapping[str, str] = {
    # Python's ssl, requests, boto3 and curl each have a name of their own for it.
    name: str(container.CA_FOLDER / container.CA_FILE)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE")
}


def environment(
    manifest: Manifest, job: AsyncDiffJob, defaults: Defaults, extra: Mapping[str, str]
) -> list[Manifest]:
    """Gives the container's variables.

    Args:
        manifest: The job as stored.
        job: The same, read; the API refuses names that are ours in its pod.env.
        defaults: What the administrator decided.
        extra: Variables of this step alone.
    """
    certificates = CERTIFICATES if defaults.ca_config_map else {}
    given = {**CHANGEABLE, **certificates, **defaults.environment}
    own = [
        variable.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        for variable in job.spec.pod.env
    ]
    chosen = {variable["name"] for variable in own}
    return [
        *(_variable(name, value) for name, value in given.items() if name not in chosen),
        *own,
        _variable(container.TRACE_VARIABLE, trace_id(manifest)),
        {"name": container.POD_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        # Kubernetes would put a variable's value in place of $(NAME).
        *(_variable(name, value.replace("$", "$$")) for name, value in extra.items()),
    ]


def _variable(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}
