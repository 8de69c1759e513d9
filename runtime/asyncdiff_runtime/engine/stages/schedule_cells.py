"""What a schedule is made of: a segment computed once, and the values that come of it."""

from dataclasses import dataclass
from typing import NamedTuple


class Value(NamedTuple):
    """What a segment gave once: a version, of which several may be alive at a time."""

    sample: int
    segment: int
    evaluation: int

    def __str__(self) -> str:
        return f"segment {self.segment} of evaluation {self.evaluation}, sample {self.sample}"


@dataclass(frozen=True, order=True)
class Cell:
    """One segment computed once.

    Attributes:
        segment: which one, counted from 0 in the order of the graph.
        sample: which of several samples in flight.
        evaluation: whose timestep it is computed with.
        ages: for each earlier segment, how many evaluations before this one the values were made that are read of
            it; 0 is exact.
        foretold: how many evaluations past the last true latent the latent was foretold that is read; 0 reads the true
            one.
    """

    segment: int
    sample: int
    evaluation: int
    ages: tuple[int, ...]
    foretold: int = 0

    @property
    def value(self) -> Value:
        """What it makes."""
        return Value(self.sample, self.segment, self.evaluation)

    @property
    def reads(self) -> tuple[Value, ...]:
        """What it may read, a version of each earlier segment."""
        return tuple(
            Value(self.sample, segment, self.evaluation - age) for segment, age in enumerate(self.ages)
        )

    @property
    def stale(self) -> bool:
        """Whether it reads anything old or foretold."""
        return self.foretold > 0 or any(self.ages)


class Work(NamedTuple):
    """A cell where it stands in a schedule."""

    tick: int
    stage: int
    cell: Cell


Tick = tuple[tuple[Cell, ...], ...]
"""The cells of each stage, those of one stage in the order in which it computes them."""


@dataclass(frozen=True)
class Extent:
    """How large a schedule is.

    Attributes:
        stages: how many work at the same time; segment s belongs to stage s mod stages.
        segments: stages + 1 for a circle, in which stage 0 owns the first and the last one; stages for a chain. A
            single stage may have any number.
        samples: how many are denoised together.
        evaluations: of each sample.
    """

    stages: int
    segments: int
    samples: int
    evaluations: int

    def stage_of(self, segment: int) -> int:
        """The stage that a segment belongs to."""
        return segment % self.stages
