"""What is to be said about each document of a file: a valid job, an invalid one, or no job at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from asyncdiff_api.describe import find
from asyncdiff_api.files.documents import Document, Flaw, Path, Place, read_documents
from asyncdiff_api.job import GROUP, KIND, AsyncDiffJob
from asyncdiff_api.validation import Problem, validate


class Outcome(StrEnum):
    """What a document turned out to be."""

    VALID = "valid"
    INVALID = "invalid"
    SKIPPED = "skipped"
    """Not an AsyncDiffJob: another kind of object, which is not ours to judge."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where it stands in the file."""

    place: Place
    field: str
    """The field as people write it, such as `spec.generate.steps`; empty where the YAML itself is wrong."""
    message: str
    suggestion: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one document."""

    outcome: Outcome
    place: Place
    kind: str
    """The document's own `kind`, or empty where it has none."""
    name: str
    """The object's name, or empty where it has none."""
    findings: tuple[Finding, ...] = ()


def judge(text: str) -> tuple[Verdict, ...]:
    """Gives a verdict on every object in a YAML text, in their order; a `List` counts as its items."""
    reading = read_documents(text)
    verdicts = [verdict for document in reading.documents for verdict in _judge_document(document)]
    if reading.flaw is not None:
        finding = _finding_of_flaw(reading.flaw)
        verdicts.append(Verdict(Outcome.INVALID, finding.place, "", "", (finding,)))
    return tuple(verdicts)


def _judge_document(document: Document) -> Iterator[Verdict]:
    if document.flaws:
        findings = tuple(sorted((_finding_of_flaw(flaw) for flaw in document.flaws), key=_position))
        kind, name = _kind(document.content), _name(document.content)
        yield Verdict(Outcome.INVALID, document.start, kind, name, findings)
        return
    for prefix, content in _objects(document.content):
        place = document.place_of(prefix)
        kind, name = _kind(content), _name(content)
        if _is_another_kind(content):
            yield Verdict(Outcome.SKIPPED, place, kind, name)
            continue
        result = validate(content)
        problems = () if isinstance(result, AsyncDiffJob) else result
        findings = tuple(sorted((_finding_of_problem(p, document, prefix) for p in problems), key=_position))
        yield Verdict(Outcome.INVALID if findings else Outcome.VALID, place, kind, name, findings)


def _objects(content: JsonValue) -> Iterator[tuple[Path, JsonValue]]:
    """Gives the objects of a document with the path to each: itself, or the items of a `List`."""
    if isinstance(content, dict) and (content.get("apiVersion"), content.get("kind")) == ("v1", "List"):
        items = content.get("items")
        yield from (
            (("items", index), item) for index, item in enumerate(items if isinstance(items, list) else [])
        )
    else:
        yield (), content


def _is_another_kind(content: JsonValue) -> bool:
    """Whether it says plainly that it is none of our objects. A job that misspells its kind does not."""
    if not isinstance(content, dict):
        return False
    version, kind = content.get("apiVersion"), content.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return False
    return kind != KIND and version.partition("/")[0] != GROUP


def _kind(content: JsonValue) -> str:
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def _name(content: JsonValue) -> str:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def _finding_of_problem(problem: Problem, document: Document, prefix: Path) -> Finding:
    path = (*prefix, *problem.path)
    known = find(".".join(name for name in problem.path if isinstance(name, str))) is not None
    place = document.place_of_value(path) if known else document.place_of(path)
    return Finding(place, problem.dotted, f"{problem.message.removesuffix('.')}.", problem.suggestion)


def _finding_of_flaw(flaw: Flaw) -> Finding:
    return Finding(flaw.place, "", flaw.message)


def _position(finding: Finding) -> Place:
    return finding.place
