"""The chart's values, declared once: `values.yaml`, its schema and the README's table are made from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from asyncdiff_operator.options import Described, describe_options
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel

PullPolicy = Literal["", "Always", "IfNotPresent", "Never"]
Map = dict[str, Any]
Labels = dict[str, str]

SAID_ELSEWHERE = frozenset(
    {
        "image",
        "image_pull_policy",
        "namespaces",
        "kubeconfig",
        "identity",
        "address",
        "port",
        "lease_namespace",
    }
)
"""Options of the operator that the chart sets from other values or from the pod itself."""


class Section(BaseModel):
    """A part of the values. A key that is not declared is refused by the schema."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)


class Image(Section):
    """An image."""

    repository: Annotated[str, Field(description="Registry and name.")]
    tag: Annotated[str, Field(description="Tag. Empty: the chart's appVersion.")] = ""
    digest: Annotated[
        str,
        Field(
            description="Digest, such as sha256:…; with it the tag is not used.",
            pattern="^(sha256:[0-9a-f]{64})?$",
        ),
    ] = ""
    pull_policy: Annotated[
        PullPolicy, Field(description="When nodes pull it. Empty: Kubernetes' own rule.")
    ] = ""


class Crds(Section):
    """The resource definition."""

    enabled: Annotated[bool, Field(description="Whether the chart installs and upgrades it.")] = True
    keep: Annotated[
        bool,
        Field(description="Whether it, and with it every AsyncDiffJob, outlives `helm uninstall`."),
    ] = True


class Rbac(Section):
    """Rights."""

    create: Annotated[bool, Field(description="Whether the operator is given the rights it needs.")] = True
    aggregate: Annotated[
        bool,
        Field(description="Whether the roles view, edit and admin of the cluster learn of AsyncDiffJobs."),
    ] = True


class ServiceAccount(Section):
    """The operator's identity."""

    create: Annotated[bool, Field(description="Whether it is made.")] = True
    name: Annotated[str, Field(description="Its name. Empty: the release's full name.")] = ""
    annotations: Annotated[Labels, Field(description="Annotations of it.")] = {}


class FlowSchema(Section):
    """Keeps the Lease from waiting behind other requests."""

    enabled: Annotated[
        bool,
        Field(description="Whether there is one, where the cluster serves flowcontrol.apiserver.k8s.io/v1."),
    ] = True


class PodDisruptionBudget(Section):
    """Keeps one replica while nodes are drained."""

    enabled: Annotated[bool, Field(description="Whether there is one, with more than one replica.")] = True


class NetworkPolicy(Section):
    """Who may talk to whom."""

    enabled: Annotated[
        bool, Field(description="Whether the operator's connections are limited to what it needs.")
    ] = True
    metrics_from: Annotated[
        list[Map],
        Field(
            description="Peers (as in a NetworkPolicy) that may read /metrics. Empty: every pod of the cluster."
        ),
    ] = []


class PodMonitor(Section):
    """Metrics for the Prometheus operator."""

    enabled: Annotated[
        bool, Field(description="Whether the operator and the jobs' pods are scraped; needs PodMonitor.")
    ] = False
    interval: Annotated[str, Field(description="Time between two scrapes.", pattern="^[0-9]+(ms|s|m)$")] = (
        "30s"
    )
    labels: Annotated[Labels, Field(description="Labels by which your Prometheus chooses its monitors.")] = {}


class PrometheusRule(Section):
    """Alerts for the Prometheus operator."""

    enabled: Annotated[bool, Field(description="Whether the alerts are installed; needs PrometheusRule.")] = (
        False
    )
    labels: Annotated[Labels, Field(description="Labels by which your Prometheus chooses its rules.")] = {}


class Dashboard(Section):
    """The Grafana dashboard."""

    enabled: Annotated[bool, Field(description="Whether a ConfigMap with it is installed.")] = False
    labels: Annotated[Labels, Field(description="Labels by which Grafana's sidecar finds it.")] = {
        "grafana_dashboard": "1"
    }


def _settings() -> type[Section]:
    """The operator's options, which the operator's package describes; null leaves one at its default."""
    fields: dict[str, Any] = {
        option.name: (
            _schema_type(option),
            Field(default=None, description=f"{option.about} Default: {option.default}."),
        )
        for option in describe_options()
        if option.name not in SAID_ELSEWHERE
    }
    return create_model("Settings", __base__=Section, **fields)


def _schema_type(option: Described) -> Any:
    """Gives the type of a setting; `none` is said where the operator's default is not None and may be made so."""
    if str(option.type).startswith("tuple"):
        return list[str] | None
    if get_origin(option.type) is Mapping:
        return Labels | None
    may_be_none = type(None) in get_args(option.type) and option.default != "unset"
    return option.type | Literal["none"] | None if may_be_none else option.type | None


Settings: Any = _settings()


class Values(Section):
    """Everything that can be said to the chart."""

    image: Annotated[Image, Field(description="The operator's image.")] = Image(
        repository="ghcr.io/asyncdiff/asyncdiff-operator"
    )
    runtime_image: Annotated[
        Image,
        Field(
            description="The runtime's image, for jobs that name none. Running jobs keep the one they have."
        ),
    ] = Image(repository="ghcr.io/asyncdiff/asyncdiff-runtime")
    image_pull_secrets: Annotated[
        list[Map], Field(description="Secrets for the operator's image, as in a Pod: `[{name: …}]`.")
    ] = []
    replicas: Annotated[
        int, Field(description="Operators that run; one leads, the others are ready to.", ge=0, le=16)
    ] = 2
    crds: Annotated[Crds, Field(description="The resource definition AsyncDiffJob.")] = Crds()
    namespaces: Annotated[
        list[str],
        Field(
            description="Namespaces whose jobs are run, with rights in these alone. Empty: all of the cluster."
        ),
    ] = []
    settings: Annotated[
        Settings,
        Field(description="The operator's own settings; null leaves one at its default."),
    ] = Settings()
    rbac: Annotated[Rbac, Field(description="Rights of the operator and of people.")] = Rbac()
    service_account: Annotated[
        ServiceAccount, Field(description="Service account of the operator; jobs use their own.")
    ] = ServiceAccount()
    flow_schema: Annotated[
        FlowSchema,
        Field(description="Room for the operator's Lease in an API server that has too much to do."),
    ] = FlowSchema()
    pod_disruption_budget: Annotated[
        PodDisruptionBudget, Field(description="Protection while nodes are drained.")
    ] = PodDisruptionBudget()
    network_policy: Annotated[NetworkPolicy, Field(description="Limits of the operator's connections.")] = (
        NetworkPolicy()
    )
    pod_monitor: Annotated[PodMonitor, Field(description="Scraping by the Prometheus operator.")] = (
        PodMonitor()
    )
    prometheus_rule: Annotated[PrometheusRule, Field(description="Alerts by the Prometheus operator.")] = (
        PrometheusRule()
    )
    dashboard: Annotated[Dashboard, Field(description="Dashboard for Grafana.")] = Dashboard()
    resources: Annotated[Map, Field(description="CPU and memory of the operator, as in a Pod.")] = {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    extra_env: Annotated[
        list[Map],
        Field(description="More environment variables of the operator, such as HTTPS_PROXY, as in a Pod."),
    ] = []
    node_selector: Annotated[Labels, Field(description="Labels that the operator's node must have.")] = {}
    tolerations: Annotated[list[Map], Field(description="Taints that the operator puts up with.")] = []
    affinity: Annotated[Map, Field(description="Affinity of the operator, as in a Pod.")] = {}
    topology_spread: Annotated[
        bool, Field(description="Whether replicas prefer different nodes and zones.")
    ] = True
    priority_class_name: Annotated[str, Field(description="PriorityClass of the operator.")] = ""
    pod_labels: Annotated[Labels, Field(description="More labels of the operator's pods.")] = {}
    pod_annotations: Annotated[Labels, Field(description="More annotations of the operator's pods.")] = {}
    name_override: Annotated[str, Field(description="Name of the chart in names and labels.")] = ""
    fullname_override: Annotated[str, Field(description="Name of everything that the chart makes.")] = ""
    global_: Annotated[
        Map,
        Field(alias="global", description="What a parent chart shares with all; nothing is read from it."),
    ] = {}
