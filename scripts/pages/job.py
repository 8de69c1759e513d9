"""The reference of the AsyncDiffJob's spec and status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from asyncdiff_api.describe import Shape, child, job_shape
from asyncdiff_api.job import GROUP, KIND, VERSION
from asyncdiff_api.rule import Rule
from asyncdiff_api.rules import rules_of
from asyncdiff_api.wording import expectation

from pages.markdown import code, page, table

_SPEC_INTRODUCTION = """
Every field of `spec`, with what it takes and what leaving it out means. The same text is printed by
`asyncdiff explain spec` and, in a cluster that has the resource definition, by `kubectl explain adj.spec`.

*May change* marks the fields that may change while the job runs; the API server refuses any other change.
*Identity* marks the fields that are part of what an item is: a job with another value there makes other items,
while a job that differs only elsewhere finds the items that are in the output already, and does not make them
again.
"""
_STATUS_INTRODUCTION = """
Every field of `status`. The operator alone writes it. Conditions and their reasons have
[a page of their own](conditions.md).
"""


def spec_page() -> str:
    """Gives the page on `spec`."""
    title = f"{KIND} ({GROUP}/{VERSION})"
    return page(title, _SPEC_INTRODUCTION, *_sections(child(job_shape(), "spec"), _spec_table))


def status_page() -> str:
    """Gives the page on `status`."""
    return page("Status", _STATUS_INTRODUCTION, *_sections(child(job_shape(), "status"), _status_table))


def _sections(shape: Shape, tabulate: Callable[[list[Shape]], str]) -> Iterator[str]:
    """Gives a heading, a table and the rules for an object, then for each object inside it."""
    owner = shape if shape.fields else shape.entry
    if owner is None or not owner.fields:
        return
    yield f"## `{owner.dotted or shape.dotted}`"
    if shape.description:
        yield shape.description
    yield tabulate(list(owner.fields.values()))
    rules = [_rule(rule) for rule in rules_of(owner.model)] if owner.model else []
    if rules:
        yield "Rules between fields, in the words of their refusal (… stands for a value of yours):"
        yield "\n".join(rules)
    for field in owner.fields.values():
        yield from _sections(field, tabulate)


def _spec_table(fields: list[Shape]) -> str:
    rows = [[_name(field), _kind(field), _default(field), _meaning(field)] for field in fields]
    return table(["Field", "Takes", "Default", "Meaning"], rows)


def _status_table(fields: list[Shape]) -> str:
    return table(["Field", "Type", "Meaning"], [[_name(f), f.kind.value, f.description] for f in fields])


def _name(field: Shape) -> str:
    inner = field if field.fields else field.entry
    if inner is not None and inner.fields:
        return f"[`{field.path[-1]}`](#{_anchor(inner.dotted)})"
    return code(field.path[-1])


def _anchor(dotted: str) -> str:
    """Gives the anchor that the site's table of contents makes of a heading."""
    return "".join(character for character in dotted.lower() if character.isalnum())


def _kind(field: Shape) -> str:
    return "an object" if field.fields else expectation(field)


def _default(field: Shape) -> str:
    if field.required:
        return "**required**"
    if field.default is None or field.fields:
        return ""
    return code(json.dumps(field.default, ensure_ascii=False))


def _meaning(field: Shape) -> str:
    marks = ["*May change.*"] * field.mutable + ["*Identity.*"] * field.identity
    return " ".join([field.description, *marks])


def _rule(rule: Rule) -> str:
    parts = [rule.message] if isinstance(rule.message, str) else rule.message
    return f"- `{rule.field}`: {''.join(part if isinstance(part, str) else '…' for part in parts)}."
