"""Commands of other packages: found by entry point, and imported only when they are wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = """[asyncdiff.commands]
hello = hello_from_elsewhere:hello
broken = hello_from_elsewhere:needs_kubernetes
absent = no_such_module_anywhere:main
"""
MODULE = """
import sys
from asyncdiff_api.formats.errors import OutageError

print("imported", file=sys.stderr)

def hello(name: str) -> None:
    '''Greet somebody.'''
    if name == "nobody":
        raise OutageError("there is nobody to greet; name somebody")
    print(f"hello {name}")

def needs_kubernetes() -> None:
    '''Ask a cluster.'''
    raise ModuleNotFoundError("No module named 'kubernetes'", name="kubernetes")
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed distribution that adds commands."""
    folder = tmp_path_factory.mktemp("site")
    metadata = folder / "elsewhere-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    (folder / "hello_from_elsewhere.py").write_text(MODULE)
    return folder


def asyncdiff(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asyncdiff_runtime.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_of_another_package_runs_like_our_own(elsewhere: Path) -> None:
    done = asyncdiff(elsewhere, "hello", "Ada")
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")


def test_our_own_commands_import_nothing_of_it(elsewhere: Path) -> None:
    assert asyncdiff(elsewhere, "explain", "spec").stderr == ""


def test_help_lists_it_even_where_one_of_several_is_broken(elsewhere: Path) -> None:
    done = asyncdiff(elsewhere, "--help")
    assert done.returncode == 0
    assert "Greet somebody." in done.stdout
    assert "Cannot be loaded: No module named 'no_such_module_anywhere'" in done.stdout


def test_a_name_mistyped_finds_it(elsewhere: Path) -> None:
    assert "Did you mean 'hello'?" in asyncdiff(elsewhere, "helo").stderr


def test_an_error_of_the_contract_is_a_sentence_and_its_exit_code(elsewhere: Path) -> None:
    done = asyncdiff(elsewhere, "hello", "nobody")
    assert (done.returncode, done.stderr) == (
        74,
        "imported\nOutage: there is nobody to greet; name somebody\n",
    )


def test_what_lacks_an_optional_dependency_names_the_extra(elsewhere: Path) -> None:
    done = asyncdiff(elsewhere, "broken")
    assert "pip install 'asyncdiff-operator[operator]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 70
