"""What may not change once a job exists, as CEL for the API server; made from the `mutable` labels.

Python has no part in this: a document alone has no past.
"""

from functools import cache
from typing import Any, Final

from asyncdiff_api.describe import Kind, Shape, child, job_shape
from asyncdiff_api.rule import Reason

_QUEUED_PODS: Final = {
    "rule": "self.run.queueName == '' || self.parallelism.pods == oldSelf.parallelism.pods",
    "message": (
        "pods is fixed with run.queueName, where Kueue admitted the job for that many: delete the job and "
        "create it with other pods; finished items are kept"
    ),
    "fieldPath": ".parallelism.pods",
    "reason": Reason.FORBIDDEN.value,
}


@cache
def transition_rules() -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The rules that hold fields fixed, as entries of ``x-kubernetes-validations``, by path of their section.

    Every field of a section that is always present gets a rule of its own, so that a message names the very
    field. What lies inside something optional is compared as a whole.
    """
    rules: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    _collect(child(job_shape(), "spec"), rules)
    rules["spec",].append(_QUEUED_PODS)
    return rules


def _collect(section: Shape, rules: dict[tuple[str, ...], list[dict[str, Any]]]) -> None:
    rules[section.path] = []
    for name, shape in (section.fields or {}).items():
        if shape.fields and is_always_present(shape):
            _collect(shape, rules)
        elif not shape.mutable:
            rules[section.path].append(_fixed(name, shape))


def is_always_present(shape: Shape) -> bool:
    """Whether every stored document holds the field: it is required, or the API server fills it in."""
    return shape.required or shape.default is not None


def _fixed(name: str, shape: Shape) -> dict[str, Any]:
    # To CEL's type checker a section has no field whose values may be anything; at run time it is there.
    new, old = ("dyn(self)", "dyn(oldSelf)") if shape.kind is Kind.FREE_FORM else ("self", "oldSelf")
    same = f"{new}.{name} == {old}.{name}"
    if not is_always_present(shape):
        same = f"has({new}.{name}) == has({old}.{name}) && (!has({new}.{name}) || {same})"
    message = (
        f"{shape.dotted} is fixed once the job exists: keep it, or delete the job and create it anew; "
        "finished items are kept where the request is the same"
    )
    return {"rule": same, "message": message, "fieldPath": f".{name}", "reason": Reason.FORBIDDEN.value}
