"""What may not be in the repository, and how long its parts may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repository import ROOT, tracked_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 8

# In parts, so that this file may be searched like any other.
MACHINE_FOLDERS = "|".join(("work", "root", "home", "Users"))
# Ada, whose home tests may speak of, has no machine.
MACHINE_PATHS = re.compile(rf"(?<![A-Za-z0-9_.~-])/(?:{MACHINE_FOLDERS})/(?!ada\b)[a-z]")
TOP_LEVEL = "(?:org|com|io)"
REGISTRIES = re.compile(rf"\b(?:pypi|pythonhosted|npmjs|(?:proxy|sum)\.golang)\.{TOP_LEVEL}\b")


def texts() -> Iterator[tuple[str, str]]:
    """Gives name and content of every tracked text file."""
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data:
            yield str(path.relative_to(ROOT)), data.decode("utf-8")


def hits(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert hits(MACHINE_PATHS) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert hits(REGISTRIES) == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATHS.search("see /" + "home/grace/notes")
    assert not MACHINE_PATHS.search("s3://bucket/" + "home/grace")
    assert REGISTRIES.search("https://" + "py" + "pi.org/simple")


def test_text_files_end_with_one_newline_and_carry_no_trailing_spaces() -> None:
    wrong = [
        name
        for name, text in texts()
        if text and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+\n", text))
        if name.endswith((".py", ".toml", ".md", ".yaml", ".yml", ".json", ".sh", ".txt", "Makefile", ".go"))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_python_file_has_one_subject_and_fits_its_size(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{path.name}:{node.lineno}: {node.name}"
            assert (node.end_lineno or 0) - node.lineno + 1 <= MAX_FUNCTION_LINES, where
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([a for a in given if a.arg not in ("self", "cls")]) <= MAX_ARGUMENTS, where
