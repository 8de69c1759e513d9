"""Writes the pictures of docs/images that the engine draws: `pictures.py` writes, a test compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from asyncdiff_runtime.engine.stages.builders import asyncdiff, lookahead
from asyncdiff_runtime.engine.stages.picture import timetables

ROOT = Path(__file__).resolve().parents[1]


def stages() -> str:
    """The timetables of AsyncDiff and of lookahead through stages, below each other."""
    return timetables(
        [
            ("AsyncDiff in 3 stages: parts of one evaluation at once, on old values", asyncdiff(3, 14)),
            (
                "The same with stride 2: all but the shell rest at every other evaluation",
                asyncdiff(3, 14, stride=2),
            ),
            (
                "Lookahead in 3 stages: parts of 3 evaluations at once, on foretold latents",
                lookahead(3, 14, warmup=2, exact_tail=1),
            ),
        ],
        "Fourteen evaluations in three stages, by AsyncDiff, by AsyncDiff with stride 2, and by lookahead",
        "A row is a stage, a column a tick, a number the evaluation that the stage works on.",
        name="stages",
    )


PICTURES: Mapping[str, Callable[[], str]] = MappingProxyType({"docs/images/stages.svg": stages})


def main() -> None:
    """Writes those that are not up to date."""
    for name, draw in PICTURES.items():
        path, wanted = ROOT / name, draw()
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
