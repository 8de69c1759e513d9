"""Which pipelines of diffusers name a class among their modules, read from their source."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path


def pipelines_of(classes: Collection[str]) -> dict[str, list[str]]:
    """Names of the exported pipelines whose constructor takes each of the classes, in alphabetical order.

    Nothing is imported, so that a pipeline counts whose own dependencies are missing here.
    """
    spec = find_spec("diffusers")
    assert spec is not None
    assert spec.origin is not None
    exported = set(_strings(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))
    found: dict[str, set[str]] = {name: set() for name in classes}
    for path in sorted((Path(spec.origin).parent / "pipelines").rglob("*.py")):
        for pipeline, words in _constructors(ast.parse(path.read_text(encoding="utf-8"))):
            for name in words & found.keys() if pipeline in exported else ():
                found[name].add(pipeline)
    return {name: sorted(users) for name, users in found.items()}


def _constructors(module: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Each pipeline class of a file, with the words in the annotations of its constructor."""
    for kind in module.body:
        if not isinstance(kind, ast.ClassDef) or not kind.name.endswith("Pipeline"):
            continue
        for part in kind.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                notes = [argument.annotation for argument in (*part.args.args, *part.args.kwonlyargs)]
                yield kind.name, {word for note in notes if note is not None for word in _words(note)}


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _words(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (
                word.strip()
                for word in node.value.replace("|", ",").replace("[", ",").replace("]", ",").split(",")
            )
