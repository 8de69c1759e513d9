"""What a stranger types works, and what is missing on a machine is said in a sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.repository import ROOT, tracked_files

UV = ROOT / "scripts" / "uv"
PAGES = [path for path in tracked_files() if path.suffix == ".md"]


def run_uv(python: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Runs `scripts/uv --version` where PATH holds a few tools of the system and no uv."""
    for tool in ("sh", "dirname", "mktemp", "mkdir", "mv", "rm"):
        found = shutil.which(tool)
        assert found is not None
        (path / tool).symlink_to(found)
    environment = {"PATH": str(path), "PYTHON": python, "HOME": str(path)}
    command = ["/bin/sh", str(path / "clone" / "scripts" / "uv"), "--version"]
    (path / "clone" / "scripts").mkdir(parents=True)
    shutil.copy(UV, path / "clone" / "scripts" / "uv")
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_python_it_says_what_to_install(tmp_path: Path) -> None:
    done = run_uv("python3", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no 'python3' on PATH. Install Python 3.11 or newer")


def test_with_an_old_python_it_says_which_is_needed(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase $1 in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    done = run_uv(str(old), tmp_path)
    assert done.returncode == 1
    assert "is Python 3.9.2, and 3.11 or newer is needed" in done.stderr


def test_without_pip_it_says_how_to_get_it(tmp_path: Path) -> None:
    assert not list((Path(sys.prefix) / "lib").glob("*/site-packages/pip")), (
        "the test needs a Python without pip"
    )
    done = run_uv(sys.executable, tmp_path)
    assert done.returncode == 1
    assert "has no pip. Install it (Debian and Ubuntu: apt-get install python3-pip)" in done.stderr


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = set(re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE))
    assert {"test", "lint", "generate", "docs", "lock", "clean"} <= listed <= targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_only_targets_and_files_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)make ([a-z-]+)(?=[ `\n])", text, re.MULTILINE)
    assert set(commands) <= targets()
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_scripts_are_executable_and_parse() -> None:
    for path in (UV, ROOT / "scripts" / "environment", ROOT / ".ci" / "run"):
        assert os.access(path, os.X_OK), f"{path} is not executable"
        subprocess.run(["bash", "-n", str(path)], check=True)
