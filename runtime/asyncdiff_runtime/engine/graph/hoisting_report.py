"""What hoisting took out of the loop, in figures."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from torch.fx import Node

from .cost import Cost, total
from .dependence import Dependence
from .work import work


@dataclass(frozen=True)
class ClassFigures:
    """One class of dependence.

    Attributes:
        operations: nodes of the class.
        again: those of them that are nevertheless done at each evaluation: views, broadcasts, and what the budget
            did not allow to be held.
        flops: of all of them.
        flops_share: of an evaluation's FLOPs.
        held_bytes: memory of the values of this class that are held for later parts.
    """

    operations: int
    again: int
    flops: int
    flops_share: float
    held_bytes: int


@dataclass(frozen=True)
class HoistingReport:
    """Figures of a hoisted graph.

    Attributes:
        classes: by dependence, from weights to latent.
        gain: by how much an evaluation is expected to become faster once what can be held is held.
    """

    classes: Mapping[Dependence, ClassFigures]
    gain: float

    @property
    def held_bytes(self) -> int:
        """Memory of all held values."""
        return sum(figures.held_bytes for figures in self.classes.values())

    def as_json(self) -> dict[str, Any]:
        """Plain data, classes by name in lower case."""
        classes = {kind.name.lower(): asdict(figures) for kind, figures in self.classes.items()}
        return {"classes": classes, "held_bytes": self.held_bytes, "gain": self.gain}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A small table."""
        table = Table(
            "depends on", title=f"hoisting: an evaluation {self.gain:.3f} × as fast", title_justify="left"
        )
        for column in ("operations", "of them done again", "GFLOP", "share", "held, MB"):
            table.add_column(column, justify="right")
        for kind, figures in self.classes.items():
            table.add_row(
                kind.name.lower(),
                str(figures.operations),
                str(figures.again),
                f"{figures.flops / 1e9:.2f}",
                f"{figures.flops_share:.2%}",
                f"{figures.held_bytes / 1e6:.2f}",
            )
        yield table


def reported(
    classes: Mapping[Node, Dependence],
    found: Mapping[Node, Cost],
    parts: Mapping[Dependence, Collection[Node]],
    held_bytes: Mapping[Dependence, int],
) -> HoistingReport:
    """The figures of a division.

    Args:
        classes: of every operation that is needed.
        found: cost of every node.
        parts: the operations of each part.
        held_bytes: memory of the values that each part gives.
    """
    flops = {kind: total(found[n] for n, k in classes.items() if k is kind).flops for kind in Dependence}
    often = frozenset(parts[Dependence.LATENT])
    return HoistingReport(
        classes={
            kind: ClassFigures(
                operations=sum(k is kind for k in classes.values()),
                again=sum(k is kind for n, k in classes.items() if n in often)
                if kind < Dependence.LATENT
                else 0,
                flops=flops[kind],
                flops_share=flops[kind] / max(1, sum(flops.values())),
                held_bytes=held_bytes[kind],
            )
            for kind in Dependence
        },
        gain=sum(work(found[n]) for n in classes) / max(1.0, sum(work(found[n]) for n in often)),
    )
