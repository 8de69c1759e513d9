"""The installed command starts without what it does not need, and ends as shells expect."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from support.command import run

HEAVY = {"torch", "diffusers", "transformers", "numpy", "PIL", "boto3", "kubernetes", "kopf"}


def asyncdiff(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asyncdiff_runtime.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "-"], ["explain", "spec"], ["crd"]])
def test_a_command_loads_no_library_that_it_does_not_use(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from asyncdiff_runtime.cli.main import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input="", capture_output=True, text=True, check=False
    )
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()}
    assert "asyncdiff_runtime" in loaded, done.stderr
    assert loaded & HEAVY == set()


def test_it_names_its_version() -> None:
    assert run("--version").output == f"asyncdiff {version('asyncdiff-operator')}\n"


def test_without_a_command_it_shows_what_there_is() -> None:
    done = asyncdiff()
    assert done.returncode == 2
    assert "validate" in done.stdout + done.stderr


def test_verdicts_go_to_standard_output_and_the_exit_code_says_the_rest() -> None:
    done = asyncdiff("validate", "-", stdin="spec: {}\n")
    assert done.returncode == 64
    assert "apiVersion: is missing" in done.stdout
    assert done.stderr == ""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncdiff_runtime.cli", "crd"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
