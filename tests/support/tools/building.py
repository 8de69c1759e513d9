"""Builds a Go module into the cache."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING

from support.tools.cache import cached
from support.tools.golang import find_go

if TYPE_CHECKING:
    from pathlib import Path

    from support.tools.catalogue import GoModule
    from support.tools.progress import Progress


class BuildFailedError(RuntimeError):
    """Go is here, and the build of a module failed."""


def built(module: GoModule, progress: Progress) -> Path:
    """The folder with a module's programs, built now if the cache lacks it.

    Raises:
        BuildFailedError: the compiler or a download failed.
        GoUnavailableError: there is no Go.
    """
    return cached(module.key, lambda folder: build(module, folder, progress), progress.say)


def build(module: GoModule, folder: Path, progress: Progress) -> None:
    """Compiles a module into a folder: one file, and a link to it for each program."""
    go = find_go(module.oldest_go, progress.say)
    # -v names each package when it is compiled, the only sign of life that the compiler gives
    command = [str(go), "build", "-v", "-o", str(folder / module.name), *module.build_arguments]
    title = f"building {module.name} {module.version} once, {module.minutes} on two cores"
    with tempfile.TemporaryFile("w+") as output:
        with progress.following(title, output):
            result = subprocess.run(
                command,
                cwd=module.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if result.returncode != 0:
            output.seek(0)
            complaints = [line for line in output if " " in line.strip()]  # the others name packages
            raise BuildFailedError(
                f"go build of {module.name} in {module.folder} ended with code {result.returncode}; "
                f"`{shlex.join(command)}` said:\n{''.join(complaints[-30:])}"
            )
    for program in module.programs:
        if program != module.name:
            (folder / program).symlink_to(module.name)


def environment() -> dict[str, str]:
    """The environment of `go build`: the user's own, with defaults that need nothing but a module proxy."""
    defaults = {
        "CGO_ENABLED": "0",
        # go.sum pins every module by hash already, and closed networks do not reach the database
        "GOSUMDB": "off",
        # the release was chosen by `find_go`; Go must not download another
        "GOTOOLCHAIN": "local",
        # a go.work above this repository has no say in its builds
        "GOWORK": "off",
    }
    return {**defaults, **os.environ}
