"""Volumes of a pod and where its container finds them, as `asyncdiff_api.formats.container` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asyncdiff_api.formats import container
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.settings import Defaults


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume and its one place in the container."""

    volume: Manifest
    path: str
    read_only: bool = False

    @property
    def mount(self) -> Manifest:
        """The entry of volumeMounts."""
        mount: dict[str, Any] = {"name": self.volume["name"], "mountPath": self.path}
        return {**mount, "readOnly": True} if self.read_only else mount


def mounted_volumes(job: AsyncDiffJob, defaults: Defaults, config: str) -> tuple[Mounted, ...]:
    """Gives all volumes of a pod that reads the job from the ConfigMap `config`."""
    return (
        *_orders(job, config),
        *_secrets(job),
        *_certificates(defaults),
        *_claims(job),
        *_scratch(job),
    )


def _orders(job: AsyncDiffJob, config: str) -> Iterator[Mounted]:
    yield Mounted({"name": "job", "configMap": {"name": config}}, str(container.JOB_FOLDER), read_only=True)
    worklist = job.spec.generate.worklist
    if worklist is not None and worklist.config_map is not None:
        items = [{"key": worklist.config_map.key, "path": container.WORKLIST_FILE}]
        source = {"name": worklist.config_map.name, "items": items}
        yield Mounted(
            {"name": "worklist", "configMap": source}, str(container.WORKLIST_FOLDER), read_only=True
        )


def _secrets(job: AsyncDiffJob) -> Iterator[Mounted]:
    """Secrets are optional to the kubelet: the runtime says which key is missing, a waiting pod would not."""
    s3 = job.spec.output.s3
    if s3 is not None and s3.credentials_secret:
        yield _secret("s3", s3.credentials_secret, str(container.S3_FOLDER))
    if job.spec.model.token_secret:
        yield _secret("hub", job.spec.model.token_secret, str(container.HUB_FOLDER))


def _secret(name: str, secret: str, path: str) -> Mounted:
    source = {"secretName": secret, "optional": True}
    return Mounted({"name": name, "secret": source}, path, read_only=True)


def _certificates(defaults: Defaults) -> Iterator[Mounted]:
    if defaults.ca_config_map:
        # Not optional: what speaks TLS would fail later, and say less of why.
        items = [{"key": container.CA_FILE, "path": container.CA_FILE}]
        source = {"name": defaults.ca_config_map, "items": items}
        yield Mounted({"name": "ca", "configMap": source}, str(container.CA_FOLDER), read_only=True)


def _claims(job: AsyncDiffJob) -> Iterator[Mounted]:
    """Claims have longer names than volumes may have, so these are numbered; only the output is written to."""
    spec = job.spec
    sources = (spec.model.volume, *(adapter.volume for adapter in spec.model.adapters))
    read = {source.claim_name for source in sources if source is not None}
    written = {spec.output.volume.claim_name} if spec.output.volume is not None else set()
    for number, claim in enumerate(sorted(read | written)):
        volume = {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}}
        yield Mounted(volume, str(container.VOLUMES / claim), read_only=claim not in written)


def _scratch(job: AsyncDiffJob) -> Iterator[Mounted]:
    claim = job.spec.pod.model_cache_claim
    cache = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    yield Mounted({"name": "cache", **cache}, str(container.CACHE))
    yield Mounted({"name": "tmp", "emptyDir": {}}, str(container.TEMPORARY))
    # Ranks of a pod exchange tensors through it, and a container's own holds 64 MiB.
    yield Mounted({"name": "shm", "emptyDir": {"medium": "Memory"}}, str(container.SHARED_MEMORY))
