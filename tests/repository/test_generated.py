"""Generated files are what the code makes today."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from support.repository import ROOT

GENERATE = ROOT / "scripts" / "generate.py"


def check(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_generated_files_are_fresh() -> None:
    done = check(GENERATE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_file_is_named_with_its_difference(tmp_path: Path) -> None:
    for folder in ("scripts", "docs/reference", "manifests", "charts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    page = tmp_path / "docs" / "reference" / "exit-codes.md"
    page.write_text(page.read_text(encoding="utf-8").replace("| 64 |", "| 63 |"), encoding="utf-8")
    done = check(tmp_path / "scripts" / "generate.py")
    assert done.returncode == 1
    assert "-| 63 |" in done.stdout
    assert "+| 64 |" in done.stdout
    assert "run `make generate`" in done.stdout
