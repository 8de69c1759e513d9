"""What a rule between fields is, and how it is checked and printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from asyncdiff_api.expressions import SELF, Number, String, Truth, count_set, quote
from asyncdiff_api.fields import Section

Message = str | tuple[str | Number | String, ...]


class Reason(StrEnum):
    """How the API server words a refusal."""

    INVALID = "FieldValueInvalid"
    FORBIDDEN = "FieldValueForbidden"


@dataclass(frozen=True)
class Rule:
    """A condition that every object of a section must meet.

    Attributes:
        scope: The section; ``self`` is one of its objects, wherever it occurs in a job.
        field: The field to blame, relative to the object.
        holds: The condition.
        message: What was found, the arithmetic, and the remedy; expressions in it are printed as values.
        reason: How the API server words the refusal.
    """

    scope: type[Section]
    field: str
    holds: Truth
    message: Message
    reason: Reason = Reason.INVALID

    def broken_by(self, document: Mapping[str, Any]) -> str | None:
        """The message, if an object of the section (as a document with defaults) breaks the rule."""
        scope = {"self": document}
        if self.holds.compute(scope):
            return None
        return "".join(part if isinstance(part, str) else str(part.compute(scope)) for part in self.message)

    def validation(self) -> dict[str, Any]:
        """The rule as an entry of ``x-kubernetes-validations``."""
        return {
            "rule": self.holds.cel,
            **_message(self.message),
            "fieldPath": f".{self.field}",
            "reason": self.reason.value,
        }


def exactly_one(scope: type[Section], *names: str) -> Rule:
    """The rule that one of the fields is set, and one alone."""
    found = count_set(SELF, *names)
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return Rule(
        scope,
        names[0],
        found.equals(1),
        (f"set exactly one of {listed}; ", found, " are set"),
    )


def _message(message: Message) -> dict[str, str]:
    """The message as a constant, or as a CEL expression where it prints values."""
    if isinstance(message, str):
        return {"message": message}
    text = "".join(_placeholder(part) for part in message)
    values = ", ".join(part.cel for part in message if not isinstance(part, str))
    return {"messageExpression": f"{quote(text)}.format([{values}])"}


def _placeholder(part: str | Number | String) -> str:
    if isinstance(part, str):
        return part.replace("%", "%%")
    return "%d" if isinstance(part, Number) else "%s"
