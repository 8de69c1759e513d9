"""The program, with everything that it keeps in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[3] / "charts" / "asyncdiff-operator"


class HelmError(RuntimeError):
    """Helm ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """Helm without a memory of other runs.

    Attributes:
        program: where it is.
        folder: for its own files and for values.
        kubeconfig: the cluster that it speaks to; None for work that needs none.
    """

    program: Path
    folder: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str | Path) -> str:
        """Runs a command and gives what it printed.

        Raises:
            HelmError: it failed.
        """
        homes = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **homes}
        if self.kubeconfig is not None:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        words = [str(word) for word in (self.program, *arguments)]
        result = subprocess.run(words, env=environment, capture_output=True, text=True)
        if result.returncode:
            raise HelmError(result.stdout + result.stderr)
        return result.stdout

    def render(self, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Gives the objects that the chart makes of values, hooks included."""
        text = self.run("template", "asyncdiff", CHART, "--namespace=asyncdiff-system", *self.values(values))
        return [document for document in yaml.safe_load_all(text) if document]

    def values(self, values: dict[str, Any] | None) -> list[str]:
        """Gives the arguments that say values."""
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values or {}))
        return [f"--values={path}"]
