"""Where the programs of a module are on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.tools.building import built
from support.tools.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.tools.catalogue import GoModule


def find_programs(
    module: GoModule, names: Iterable[str] | None = None, progress: Progress | None = None
) -> dict[str, Path]:
    """Where each program is, all of them from one place; built if no place has them all.

    Args:
        module: what to build where they are not found.
        names: the programs wanted; default all of the module.
        progress: where to report a build; default standard error.

    Raises:
        BuildFailedError: they are not here and building them failed.
        GoUnavailableError: they are not here, and neither is Go.
    """
    wanted = tuple(names or module.programs)
    for folder in (os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH")):
        if folder and (found := all_on(folder, wanted)):
            return found
    cache = built(module, progress or Progress(sys.stderr))
    return {name: cache / name for name in wanted}


def all_on(search_path: str, names: Iterable[str]) -> dict[str, Path] | None:
    """The programs on a search path; None unless it has every one."""
    found: dict[str, Path] = {}
    for name in names:
        place = shutil.which(name, path=search_path)
        if place is None:
            return None
        found[name] = Path(place).absolute()
    return found
