"""Rules between the fields of `spec.pod`: what Kubernetes would refuse later, and what the operator sets."""

from typing import Final

from asyncdiff_api.expressions import SELF
from asyncdiff_api.pod import LABEL_KEY, EnvSource, EnvVariable, Pod, Resources, Toleration
from asyncdiff_api.rule import Reason, Rule, exactly_one

GPU_RESOURCE: Final = "nvidia.com/gpu"
RESERVED_ENV: Final = (
    ""
    ""
    "^(ASYNCDIFF_.*|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|JOB_COMPLETION_INDEX)$"
)
RESERVED_KEY: Final = "^((asyncdiff[.]dev|batch[.]kubernetes[.]io)/|job-name$|controller-uid$)"

POD_RULES: Final = (
    *(
        Rule(
            Resources,
            name,
            ~SELF.collection(name).has_key(GPU_RESOURCE),
            f"{GPU_RESOURCE} is set from parallelism.gpusPerPod: remove it from {name}",
            Reason.FORBIDDEN,
        )
        for name in ("requests", "limits")
    ),
    *(
        Rule(
            Pod,
            name,
            SELF.collection(name).every(
                lambda key: key.string().matches(LABEL_KEY.pattern) & ~key.string().matches(RESERVED_KEY)
            ),
            (
                f"every key of {name} must be one that Kubernetes allows, such as team or "
                f"example.com/team, and "
                "none of asyncdiff.dev/ and batch.kubernetes.io/, which are the operator's"
            ),
        )
        for name in ("labels", "annotations")
    ),
    Rule(
        EnvVariable,
        "name",
        ~SELF.string("name").matches(RESERVED_ENV),
        (SELF.string("name"), " is set by the runtime: take another name"),
        Reason.FORBIDDEN,
    ),
    Rule(
        EnvVariable,
        "valueFrom",
        SELF.has("valueFrom").implies(SELF.string("value").equals("")),
        (SELF.string("name"), " has both value and valueFrom: remove one"),
        Reason.FORBIDDEN,
    ),
    exactly_one(EnvSource, "secretKeyRef", "configMapKeyRef", "fieldRef"),
    Rule(
        Toleration,
        "key",
        SELF.string("key").differs("") | SELF.string("operator").equals("Exists"),
        "an empty key tolerates every taint and needs operator: Exists; set that, or name the taint's key",
    ),
    Rule(
        Toleration,
        "value",
        SELF.string("value").equals("") | SELF.string("operator").equals("Equal"),
        "operator Exists compares no value: remove value, or set operator: Equal",
        Reason.FORBIDDEN,
    ),
    Rule(
        Toleration,
        "tolerationSeconds",
        SELF.has("tolerationSeconds").implies(SELF.string("effect").equals("NoExecute")),
        "tolerationSeconds delays an eviction: set effect: NoExecute, or remove tolerationSeconds",
        Reason.FORBIDDEN,
    ),
)
