"""The reference of the files that people and their programs write and read."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from asyncdiff_api.describe import find
from asyncdiff_api.formats import layout
from asyncdiff_api.formats.manifest import Completion, ItemCounts, ItemRecord, Manifest
from asyncdiff_api.formats.worklist import WorklistLine
from pydantic import BaseModel

from pages.markdown import code, page, table

_WORKLIST = """
A worklist is a file of JSON lines, UTF-8, one request a line:

```json
{"prompt": "a fox in the snow", "id": "fox-1", "seed": 7, "labels": {"campaign": "winter"}}
{"prompt": "a red barn at dusk", "width": 1344, "height": 768}
```

Whatever a line leaves out is taken from the job's `spec.generate`. Blank lines are passed over. A line that
names its seed is one item; one that does not is one item for each seed of the job. Lines that ask for the
same item make it once, and the manifest counts them.
"""
_OUTPUT = """
What a job writes below its output prefix. Keys never depend on how many pods, GPUs or shards made them, so
the same prefix can be resumed by another layout, in another cluster, or on a laptop.
"""


def worklist_page() -> str:
    """Gives the page on worklist lines."""
    return page("Worklist", _WORKLIST, _fields(WorklistLine, otherwise=_meaning_in_the_job))


def output_page() -> str:
    """Gives the page on the output prefix and the files in it."""
    keys = textwrap.dedent(inspect.getdoc(layout) or "").split("\n\n")[1]
    return page(
        "Output",
        _OUTPUT,
        f"```text\n{textwrap.dedent(keys)}\n```",
        "## A line of `manifest.jsonl`",
        "One item. Fields without a value are left out; a reader passes over those it does not know.",
        _fields(ItemRecord),
        "## `manifest.json`",
        _fields(Manifest),
        "## `items` in `manifest.json`",
        _fields(ItemCounts),
        "## `_SUCCESS` and `_FAILED`",
        "Written last: whoever sees one of them sees everything else.",
        _fields(Completion),
    )


def _nothing(_alias: str) -> str:
    return ""


def _fields(model: type[BaseModel], otherwise: Callable[[str], str] = _nothing) -> str:
    """Gives a table of a model's fields.

    Args:
        model: What to describe, with the strings below the declarations of its fields.
        otherwise: Gives the meaning of a field, by its name in JSON, that has no such string.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    notes = _notes(model)
    rows = []
    for name, info in model.model_fields.items():
        alias = info.alias or name
        kind = _kind(schema["properties"][alias], schema.get("$defs", {}))
        rows.append([code(alias), kind, notes.get(name) or otherwise(alias)])
    return table(["Field", "Type", "Meaning"], rows)


def _notes(model: type[BaseModel]) -> dict[str, str]:
    """Gives the string below each declaration of a class and its parents, by field name."""
    notes: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if owner in (BaseModel, object) or not issubclass(owner, BaseModel):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(note))),
                ):
                    notes[name] = note
                case _:
                    pass
    return notes


def _meaning_in_the_job(alias: str) -> str:
    """Gives what the job says of the field of that name, for those that a line takes over from it."""
    for place in ("generate", "generate.inputs"):
        shape = find(f"spec.{place}.{alias}")
        if shape is not None:
            return shape.description
    return ""


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Gives a JSON schema's type in a word or two."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        kinds = [_kind(option, definitions) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    if schema.get("format") == "date-time":
        return "time"
    return str(schema.get("type", "any value"))
