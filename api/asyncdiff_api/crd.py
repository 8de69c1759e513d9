"""The CustomResourceDefinition, rendered from the models: ``python -m asyncdiff_api.crd > FILE``.

The schema is structural (no references, no nullable unions): a field set to null is a field not set, as the
API server has it for fields that are not nullable. Only inside a free-form object is null a value.
"""

import sys
from typing import Any, Final

import yaml

from asyncdiff_api.describe import Kind, Shape, child, job_shape
from asyncdiff_api.fields import Entries, Items
from asyncdiff_api.job import GROUP, JOB_NAME, KIND, PLURAL, VERSION, AsyncDiffJob
from asyncdiff_api.rules import rules_of
from asyncdiff_api.transitions import transition_rules

Schema = dict[str, Any]

SHORT_NAME: Final = "adj"
HEADER: Final = (
    "# Generated from the models in api/asyncdiff_api by `make generate`: change those, not this file.\n"
)

# A value of a free-form object. Marking the object itself as preserving unknown fields would store the same, but
# then CEL takes two objects with as many fields of other names for equal, and a fixed field could change.
ANYTHING: Final = {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}

# Name, type, path, and whether `kubectl get` shows it only with `-o wide`.
COLUMNS: Final = (
    ("Phase", "string", ".status.phase", False),
    ("Done", "integer", ".status.items.done", False),
    ("Total", "integer", ".status.items.total", False),
    ("Items/s", "number", ".status.throughput.itemsPerSecond", False),
    ("Speed-up", "number", ".status.throughput.speedup", False),
    ("ETA", "string", ".status.estimatedCompletionTime", False),
    ("Plan", "string", ".status.plan.strategy", True),
    ("Pods", "integer", ".status.pods", True),
    ("GPUs/Pod", "integer", ".spec.parallelism.gpusPerPod", True),
    ("Output", "string", ".status.output.uri", True),
    ("Age", "date", ".metadata.creationTimestamp", False),
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as a document."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                # A job stands in `kubectl get all` beside the Jobs and Pods that it owns: whoever deletes
                # "all" means the owner too, and would otherwise see the children come back.
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def crd_yaml() -> str:
    """The CustomResourceDefinition as the text of the file that is checked in."""
    return HEADER + yaml.safe_dump(crd(), sort_keys=False, width=110, allow_unicode=True)


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.parallelism.pods",
                "statusReplicasPath": ".status.pods",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}
            for name, kind, path, wide in COLUMNS
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> Schema:
    """The whole object. Of metadata a schema may bound the name only; the rest is Kubernetes' own."""
    shape = job_shape()
    name = {"type": "string", "maxLength": JOB_NAME.maximum, "pattern": JOB_NAME.pattern}
    return {
        "description": (AsyncDiffJob.__doc__ or "").strip(),
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": schema(child(shape, "spec")),
            "status": schema(child(shape, "status")),
        },
    }


def schema(shape: Shape) -> Schema:
    """The structural schema of one shape."""
    described = {"description": shape.description} if shape.description else {}
    default = {} if shape.required or shape.default is None else {"default": shape.default}
    return {**described, **_type(shape), **_bounds(shape), **default}


def _type(shape: Shape) -> Schema:
    match shape.kind:
        case Kind.OBJECT:
            return _object(shape)
        case Kind.LIST:
            return {"type": "array", "items": _entry(shape), **_list_type(shape)}
        case Kind.MAP:
            return {"type": "object", "additionalProperties": _entry(shape)}
        case Kind.FREE_FORM:
            return {"type": "object", "additionalProperties": dict(ANYTHING)}
        case Kind.INTEGER_OR_STRING:
            return {"x-kubernetes-int-or-string": True}
        case Kind.TIMESTAMP:
            return {"type": "string", "format": "date-time"}
        case _:
            return {"type": shape.kind.value}


def _object(shape: Shape) -> Schema:
    fields = shape.fields or {}
    required = [name for name, field in fields.items() if field.required]
    rules = [rule.validation() for rule in rules_of(shape.model)] if shape.model else []
    rules += transition_rules().get(shape.path, [])
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {name: schema(field) for name, field in fields.items()},
        **({"x-kubernetes-validations": rules} if rules else {}),
    }


def _entry(shape: Shape) -> Schema:
    return schema(shape.entry) if shape.entry is not None else {}


def _list_type(shape: Shape) -> Schema:
    """How writes of several managers merge: entry by entry where a key tells them apart, else not at all."""
    if isinstance(shape.size, Items) and shape.size.key:
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [shape.size.key]}
    return {"x-kubernetes-list-type": "atomic"}


def _bounds(shape: Shape) -> Schema:
    bounds: Schema = {}
    if shape.choices and shape.kind is Kind.INTEGER_OR_STRING:
        bounds["pattern"] = f"^({'|'.join(shape.choices)})$"
    elif shape.choices:
        bounds["enum"] = list(shape.choices)
    if shape.numbers:
        bounds |= {"minimum": shape.numbers.minimum, "maximum": shape.numbers.maximum}
    if shape.text:
        bounds |= {"minLength": shape.text.minimum} if shape.text.minimum else {}
        bounds["maxLength"] = shape.text.maximum
        bounds |= {"pattern": shape.text.pattern} if shape.text.pattern else {}
    if isinstance(shape.size, Items):
        bounds |= {"minItems": shape.size.minimum} if shape.size.minimum else {}
        bounds["maxItems"] = shape.size.maximum
    if isinstance(shape.size, Entries):
        bounds["maxProperties"] = shape.size.maximum
    return bounds


if __name__ == "__main__":
    sys.stdout.write(crd_yaml())
