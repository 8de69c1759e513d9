"""Each package loads only what it may: the operator's image has no torch, the runtime's no kopf."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.repository import ROOT

GPU_STACK = {"torch", "diffusers", "transformers", "accelerate", "numpy", "PIL"}
KUBERNETES = {"kopf", "kubernetes"}

IMPORT_EACH = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def modules_of(folder: Path, package: str) -> list[str]:
    """Gives the dotted name of every module below a package's folder."""
    paths = sorted((folder / package).rglob("*.py"))
    return [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if path.name != "__main__.py"
    ]


def loaded_by(names: list[str]) -> set[str]:
    """Imports modules in a fresh interpreter and gives the top-level packages that it then holds."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *names], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("folder", "package", "forbidden"),
    [
        ("api", "asyncdiff_api", GPU_STACK | KUBERNETES | {"asyncdiff_operator", "asyncdiff_runtime"}),
        ("operator", "asyncdiff_operator", GPU_STACK | {"asyncdiff_runtime"}),
        ("runtime", "asyncdiff_runtime.cli", GPU_STACK | KUBERNETES | {"asyncdiff_operator"}),
    ],
)
def test_importing_all_of_a_package_loads_nothing_that_it_must_do_without(
    folder: str, package: str, forbidden: set[str]
) -> None:
    names = [
        name for name in modules_of(ROOT / folder, package.partition(".")[0]) if name.startswith(package)
    ]
    assert names
    assert loaded_by(names) & forbidden == set()
