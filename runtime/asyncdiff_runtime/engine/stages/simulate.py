"""A schedule carried out in one process, on any device: what ranks compute together, bit for bit."""

from typing import Protocol

from .cell import BoundSegments, Values
from .progress import AtHome, Prediction, Progress
from .schedule import Cell, Schedule


class Sampler(Protocol):
    """What lies between one evaluation and the next."""

    def inputs(self, cell: Cell) -> Values:
        """What a cell reads beside other segments' values.

        The latent is the true one if `cell.foretold` is 0; else it is foretold from those up to `cell.evaluation -
        cell.foretold`.
        """

    def step(self, sample: int, evaluation: int, prediction: Prediction) -> None:
        """Takes a prediction, at the end of its tick; the next true latent of that sample is known from then on."""


def simulate(schedule: Schedule, bound: BoundSegments, sampler: Sampler) -> None:
    """Carries out a schedule with all its stages in turn.

    Args:
        schedule: what is computed when, and from which versions.
        bound: its segments.
        sampler: gives latents and takes predictions.
    """
    progress = Progress(schedule, range(schedule.stages), bound, AtHome())
    while not progress.finished:
        for cell, prediction in progress.tick(sampler.inputs).items():
            sampler.step(cell.sample, cell.evaluation, prediction)
        progress.check()
