"""What the repository holds: its files, its requirements and its locks."""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked distribution."""

    name: str
    version: Version
    hashes: int
    """How many files of it are allowed."""


def tracked_files() -> list[Path]:
    """Gives every file that git tracks and that is there, as absolute paths."""
    # A checkout that another user made (a CI volume) is refused by git unless it is called safe.
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def requirements(*extras: str) -> list[Requirement]:
    """Gives the project's own requirements followed by those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts: list[str] = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def lower_bound(requirement: Requirement) -> Version:
    """Gives the version behind `>=`.

    Raises:
        ValueError: The requirement has none.
    """
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            return Version(specifier.version)
    raise ValueError(f"'{requirement}' in pyproject.toml has no lower bound: write one that was tested.")


def pins(lock: Path) -> dict[str, list[Pin]]:
    """Reads a lock file: distribution name → its pins, more than one where markers choose."""
    found: dict[str, list[Pin]] = {}
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        match = _PIN.match(entry)
        if match is None:
            raise ValueError(f"{lock.name} has a line that pins nothing: '{entry[:80]}'. Run `make lock`.")
        pin = Pin(
            name=canonicalize_name(match["name"]),
            version=Version(match["version"]),
            hashes=entry.count("--hash=sha256:"),
        )
        found.setdefault(pin.name, []).append(pin)
    return found
