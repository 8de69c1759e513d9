"""`spec.pod`: what the pods need of the cluster, in Kubernetes' own words.

Sub-objects are spelled as in a Pod, so that they can be copied from one. `affinity` alone is passed through
unseen: its schema would be longer than all the rest, and the API server checks it when the Job is created.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from asyncdiff_api.fields import OBJECT_NAME, Entries, Items, Label, Part, Range, Section, Text
from asyncdiff_api.run import YEAR_SECONDS

QUANTITY = Text(
    32,
    1,
    r"^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
    "a quantity of Kubernetes, such as 500m, 4 or 16Gi",
)
ENV_NAME = Text(256, 1, "^[A-Za-z_][A-Za-z0-9_.-]*$", "the name of an environment variable")
LABEL_VALUE = Text(
    63, 1, "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "a label value of Kubernetes"
).or_empty()
LABEL_KEY = Text(
    316,
    1,
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?$",
    "a label key of Kubernetes, such as topology.kubernetes.io/zone",
)
DATA_KEY = Text(253, 1, "^[A-Za-z0-9._-]+$", "a key of a ConfigMap or Secret")


class TolerationOperator(StrEnum):
    """How a toleration is compared with a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does."""

    ANY = ""
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class PullSecret(Section):
    """A Secret with the credentials of an image registry."""

    name: Annotated[str, OBJECT_NAME, Label("Secret in the job's namespace.", identity=False, mutable=False)]


class Resources(Section):
    """CPU, memory and the like of a pod. GPUs are asked for by parallelism.gpusPerPod."""

    requests: Annotated[
        dict[str, Annotated[str, QUANTITY] | Annotated[int, Range(0, 2**53 - 1)]],
        Entries(16),
        Label("What the scheduler sets aside. Default: the limits.", identity=False, mutable=False),
    ] = Field(default_factory=dict)
    limits: Annotated[
        dict[str, Annotated[str, QUANTITY] | Annotated[int, Range(0, 2**53 - 1)]],
        Entries(16),
        Label("What the pod may not exceed. Default: no limits.", identity=False, mutable=False),
    ] = Field(default_factory=dict)


class Toleration(Section):
    """A taint that the pods put up with."""

    key: Annotated[
        str,
        LABEL_KEY.or_empty(),
        Label("Key of the taint. Empty with operator Exists: every taint.", identity=False, mutable=False),
    ] = ""
    operator: Annotated[
        TolerationOperator,
        Label("Equal compares value, Exists does not.", identity=False, mutable=False),
    ] = TolerationOperator.EQUAL
    value: Annotated[str, LABEL_VALUE, Label("Value of the taint.", identity=False, mutable=False)] = ""
    effect: Annotated[
        TaintEffect,
        Label(
            "NoSchedule, PreferNoSchedule or NoExecute. Default: every effect.", identity=False, mutable=False
        ),
    ] = TaintEffect.ANY
    toleration_seconds: Annotated[
        int | None,
        Range(0, YEAR_SECONDS),
        Label(
            "Seconds before an eviction by NoExecute. Default: never evicted.", identity=False, mutable=False
        ),
    ] = None


class KeyReference(Section):
    """One key of a Secret or ConfigMap."""

    name: Annotated[str, OBJECT_NAME, Label("Object in the job's namespace.", identity=False, mutable=False)]
    key: Annotated[str, DATA_KEY, Label("Key of the object.", identity=False, mutable=False)]
    optional: Annotated[bool, Label("Whether the pod starts without it.", identity=False, mutable=False)] = (
        False
    )


class FieldReference(Section):
    """A field of the pod itself."""

    field_path: Annotated[
        str,
        Text(256, 1, r"^(metadata|spec|status)[.]", "a field of the pod, such as spec.nodeName"),
        Label("Path of the field, such as spec.nodeName.", identity=False, mutable=False),
    ]


class EnvSource(Section):
    """Where the value of a variable comes from. Exactly one of the three is set."""

    secret_key_ref: Annotated[KeyReference | None, Part("Key of a Secret.")] = None
    config_map_key_ref: Annotated[KeyReference | None, Part("Key of a ConfigMap.")] = None
    field_ref: Annotated[FieldReference | None, Part("Field of the pod.")] = None


class EnvVariable(Section):
    """An environment variable of the pods."""

    name: Annotated[
        str,
        ENV_NAME,
        Label(
            "Name of the variable. Names that the operator sets are refused.", identity=False, mutable=False
        ),
    ]
    value: Annotated[
        str, Text(4096), Label("Its value, in the open: not for secrets.", identity=False, mutable=False)
    ] = ""
    value_from: Annotated[EnvSource | None, Part("Where the value comes from, in place of value.")] = None


class Pod(Section):
    """What the pods need of the cluster."""

    image: Annotated[
        str,
        Text(512, 1, "^[^ ]+$", "the name of an image, without blanks").or_empty(),
        Label(
            "Runtime image. Default: the operator's; its digest is pinned when the job starts.",
            identity=False,
            mutable=False,
        ),
    ] = ""
    image_pull_secrets: Annotated[
        tuple[PullSecret, ...], Items(8, key="name"), Part("Secrets for the image registry.")
    ] = ()
    resources: Annotated[Resources, Part("CPU, memory and the like. Default: none asked for.")] = Resources()
    node_selector: Annotated[
        dict[str, Annotated[str, LABEL_VALUE]],
        Entries(32),
        Label("Labels that a node must have. Default: any node.", identity=False, mutable=False),
    ] = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Items(32), Part("Taints that the pods put up with.")] = ()
    affinity: Annotated[
        dict[str, JsonValue],
        Entries(3),
        Label(
            "Fields nodeAffinity, podAffinity and podAntiAffinity as in a Pod, passed on as they are.",
            identity=False,
            mutable=False,
        ),
    ] = Field(default_factory=dict)
    service_account_name: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label(
            "Service account of the pods, for workload identity. Its token for the Kubernetes API is not "
            "mounted.",
            identity=False,
            mutable=False,
        ),
    ] = ""
    runtime_class_name: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label("RuntimeClass of the pods, such as nvidia.", identity=False, mutable=False),
    ] = ""
    labels: Annotated[
        dict[str, Annotated[str, LABEL_VALUE]],
        Entries(32),
        Label("Labels added to the pods.", identity=False, mutable=False),
    ] = Field(default_factory=dict)
    annotations: Annotated[
        dict[str, Annotated[str, Text(4096)]],
        Entries(32),
        Label("Annotations added to the pods.", identity=False, mutable=False),
    ] = Field(default_factory=dict)
    model_cache_claim: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label(
            "PersistentVolumeClaim that keeps downloaded models and compiled graphs between pods and jobs. "
            "Default: every pod downloads anew.",
            identity=False,
            mutable=False,
        ),
    ] = ""
    env: Annotated[
        tuple[EnvVariable, ...], Items(64, key="name"), Part("Environment variables of the runtime.")
    ] = ()
