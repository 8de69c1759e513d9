"""`asyncdiff explain`: what a field of the job means, from the models that validate it."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated

import typer
from asyncdiff_api.describe import Shape, fields, job_shape
from asyncdiff_api.wording import expectation, nearest, nearest_field
from pydantic import JsonValue
from rich.text import Text

from asyncdiff_runtime.cli.output import Format, console, print_json

_RESOURCE_NAMES = ("asyncdiffjob", "asyncdiffjobs", "adj")


def explain_field(
    field: Annotated[
        str,
        typer.Argument(metavar="FIELD", help="A path such as spec.parallelism. Default: the whole job."),
    ] = "",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Show all fields inside, not only the next level.")
    ] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to print the fields.")] = Format.TEXT,
) -> None:
    """Show what a field means: type, bounds, default, and whether it may change once the job exists."""
    shape = _find(field)
    if output is Format.JSON:
        print_json(_as_json(shape, depth=None if recursive else 1))
    else:
        _print(shape, recursive=recursive)


def _find(field: str) -> Shape:
    """Gives the shape at a path as people write it.

    Raises:
        typer.BadParameter: There is no such field.
    """
    names = [name for name in field.replace("[]", "").replace("{}", "").split(".") if name]
    if names and names[0].lower() in _RESOURCE_NAMES:
        names = names[1:]
    shape = job_shape()
    for name in names:
        owner = shape if shape.fields else shape.entry or shape
        if not owner.fields or name not in owner.fields:
            raise typer.BadParameter(_no_such_field(name, shape, owner))
        shape = owner.fields[name]
    return shape


def _no_such_field(name: str, shape: Shape, owner: Shape) -> str:
    where = shape.dotted or "a job"
    if not owner.fields:
        return f"{where} has no fields of its own, so there is no '{name}' in it."
    elsewhere = {field.path[-1]: field.dotted for field in fields()}
    near = nearest_field(name, owner) or elsewhere.get(nearest(name, elsewhere) or "")
    if near is None:
        return f"{where} has no field '{name}'. It has: {', '.join(owner.fields)}."
    meant = owner.fields[near].dotted if near in owner.fields else near
    return f"{where} has no field '{name}'. Did you mean {meant}?"


def _inner_fields(shape: Shape) -> list[Shape]:
    owner = shape if shape.fields else shape.entry
    return list(owner.fields.values()) if owner is not None and owner.fields else []


def _print(shape: Shape, *, recursive: bool) -> None:
    out = console()
    out.print(Text.assemble((shape.dotted or "AsyncDiffJob", "bold cyan"), ": ", _kind_and_default(shape)))
    paragraphs = [shape.description, " ".join(_notes(shape))]
    for paragraph in filter(None, paragraphs):
        out.print(_indented(paragraph, 2, out.width))
    inner = _inner_fields(shape)
    if inner:
        out.print(Text("\nFields", style="bold"))
    for field in inner:
        if recursive:
            _print_tree(field, 2)
        else:
            out.print(Text.assemble("  ", (field.path[-1], "cyan"), ": ", _kind_and_default(field)))
            out.print(_indented(_first_sentence(field.description), 6, out.width))


def _indented(text: str, indent: int, width: int) -> str:
    margin = " " * indent
    return textwrap.fill(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


def _print_tree(shape: Shape, indent: int) -> None:
    console().print(Text.assemble(" " * indent, (shape.path[-1], "cyan"), ": ", _kind_and_default(shape)))
    for field in _inner_fields(shape):
        _print_tree(field, indent + 2)


def _kind_and_default(shape: Shape) -> Text:
    kind = "an object" if shape.fields else expectation(shape)
    if shape.required:
        return Text.assemble(kind, ", ", ("required", "yellow"))
    if shape.default is None or shape.fields:
        return Text(kind)
    return Text(f"{kind}; default {json.dumps(shape.default, ensure_ascii=False)}")


def _notes(shape: Shape) -> list[str]:
    """Gives what the labels of a field say, in sentences."""
    if shape.label is None:
        return []
    return [
        "May change while the job runs." if shape.mutable else "Fixed once the job exists.",
        "Part of an item's identity: another value makes another item."
        if shape.identity
        else "No part of an item's identity: another value makes the same items.",
    ]


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."


def _as_json(shape: Shape, *, depth: int | None) -> JsonValue:
    """Gives the facts of a field and of what is inside, `depth` levels deep or, if None, all."""
    facts: dict[str, JsonValue] = {
        "path": shape.dotted,
        "type": shape.kind.value,
        "expects": "an object" if shape.fields else expectation(shape),
        "description": shape.description,
        "required": shape.required,
        "default": shape.default,
        "choices": list(shape.choices),
    }
    if shape.label is not None:
        facts |= {"mutable": shape.mutable, "identity": shape.identity}
    inner = _inner_fields(shape)
    if inner and depth != 0:
        deeper = None if depth is None else depth - 1
        facts["fields"] = [_as_json(field, depth=deeper) for field in inner]
    return facts
