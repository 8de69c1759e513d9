"""Helm for tests: the `helm` fixture gives a `Helm`, the program built from a Go module if PATH has none."""

from support.helm.examples import EVERYTHING, FOREIGN
from support.helm.helm import CHART, Helm, HelmError

__all__ = ["CHART", "EVERYTHING", "FOREIGN", "Helm", "HelmError"]
