"""What the cluster's administrator decides for all jobs: what they are given by default, and what they may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal


@dataclass(frozen=True, slots=True)
class AllowList:
    """Names that jobs may use, as patterns in which `*` stands for any text and `?` for any character."""

    patterns: tuple[str, ...] | None = None
    """None allows every name, an empty list none."""

    def allows(self, name: str) -> bool:
        """Whether a pattern fits the whole name."""
        return self.patterns is None or any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True, kw_only=True, slots=True)
class PodResources:
    """What a pod asks of its node, as quantities of Kubernetes by the name of the resource."""

    requests: Mapping[str, str] = field(default_factory=dict)
    """What the scheduler sets aside."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """What the pod may not exceed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """Everything that `plan` needs to know beside a job and its children. Durations are in seconds."""

    image: str
    """Runtime image of jobs that name none, best with a digest; a job keeps the image that it was created with."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When nodes pull the image; None leaves it to Kubernetes: Always for the tag `latest`, else IfNotPresent."""
    fs_group: int | None = 65532
    """Group that owns mounted volumes, so that the runtime may write to them; None leaves it to the namespace,
    as OpenShift wants."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of every pod, such as HTTPS_PROXY or HF_ENDPOINT; a job's own of the same name come before them."""
    ca_config_map: str = ""
    """ConfigMap in each job's namespace whose key ca.crt holds the certificates that pods trust, in place of the
    public ones; empty for these."""
    input_hosts: tuple[str, ...] = ()
    """Hosts from which jobs may take inputs over https, as `host`, `host:port` or `*.domain`; none if empty."""
    allowed_images: AllowList = AllowList()
    """Values of pod.image; the default image is always allowed."""
    allowed_service_accounts: AllowList = AllowList()
    """Values of pod.serviceAccountName; a job that names none runs as its namespace's `default`."""
    allowed_secrets: AllowList = AllowList()
    """Secrets that a job may name: for its output, the model hub, the image registry and its environment."""
    finish_resources: PodResources = field(
        default_factory=lambda: PodResources(
            requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"}
        )
    )
    """What the pod of the finish step gets; it needs no GPU."""
    finish_retries: int = 3
    """Pods of the finish step that may fail before the job does."""
    finish_deadline_seconds: int = 6 * 3600
    """How long the finish step may take, its waiting for a node included."""
    ask_for_progress: bool = True
    """Whether running pods are asked; without, counts are as of the last pod that ended."""
    fresh_seconds: float = 180.0
    """Age up to which a report says how fast a pod is now; its counts never grow old."""
    pending_seconds: float = 60.0
    """How long a pod may wait for its start before the job is called degraded."""
    no_progress_seconds: float = 900.0
    """How long a running pod may finish no item, unless ten of its items take longer."""
    first_item_seconds: float = 3600.0
    """The same for a pod that has not finished one yet: loading and compiling take their time."""
    stuck_seconds: float = 60.0
    """How long after its grace period a pod may still be there before it is called stuck."""
    drains_per_shard: int = 100
    """Drains, which are no retries, after which a shard is taken for one that will never end."""
    look_again_seconds: float = 60.0
    """How often a job is looked at that waits for something of which no event tells."""
