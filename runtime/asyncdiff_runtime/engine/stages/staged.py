"""A captured denoiser that answers requests stage by stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..graph.capture import Captured
from ..graph.dependence import Dependence
from ..graph.program import Program
from ..request import Visit
from .cell import BoundSegments, Values
from .links import Links
from .mail import Mail
from .parcels import Form
from .progress import AtHome, Inputs, Prediction, Progress
from .schedule import Cell, Schedule

Timetable = Callable[[int], Schedule]
"""From the number of a sample's evaluations to what is computed when."""


class Team(Protocol):
    """The processes that share a sample."""

    def rehearse(self, schedule: Schedule, inputs: Inputs) -> None:
        """Makes what runs here ready, before anybody waits for it."""

    def begin(self, schedule: Schedule) -> Progress:
        """The way of a sample through a schedule."""

    def confirm(self, progress: Progress, evaluation: int) -> None:
        """Raises if an evaluation failed anywhere."""

    def shared(self, prediction: Prediction | None) -> Prediction:
        """A prediction on every member, of which one has it."""

    def blank(self, prediction: Prediction | None) -> Prediction:
        """A prediction on the member that has it; on others anything of its form."""


class Solo:
    """One process for all stages."""

    def __init__(self, bound: BoundSegments) -> None:
        self._bound = bound

    def rehearse(self, schedule: Schedule, inputs: Inputs) -> None:
        """Each segment is made ready when it runs: nobody waits for it elsewhere."""

    def begin(self, schedule: Schedule) -> Progress:
        """The way of a sample through a schedule."""
        return Progress(schedule, range(schedule.stages), self._bound, AtHome())

    def confirm(self, progress: Progress, evaluation: int) -> None:  # noqa: ARG002 -- a Team's
        """Raises if an evaluation failed."""
        progress.check()

    def shared(self, prediction: Prediction | None) -> Prediction:
        """The prediction."""
        assert prediction is not None
        return prediction

    blank = shared


class Ranks:
    """A process for each stage, of which this is one; the first has the predictions.

    Args:
        bound: all segments; those of this rank's stage are run.
        links: to the other stages.
        circular: whether the shell is the first stage or the last one.
        rehearsed: segments need nothing but to be run; else each stage makes its own ready at the same time.
    """

    def __init__(self, bound: BoundSegments, links: Links, *, circular: bool, rehearsed: bool = True) -> None:
        stages = len(links.ranks)
        self._bound = bound
        self._links = links
        self._members = {stage_of(place, stages, circular=circular): place for place in range(stages)}
        self._stage = stage_of(links.place, stages, circular=circular)
        self._forms: dict[str, Form] = {}
        self._agreed: set[str] = set()
        self._rehearsed = rehearsed
        links.agree({"cut": bound.segments.digest()})

    def rehearse(self, schedule: Schedule, inputs: Inputs) -> None:
        """Makes the segments of this stage ready, while other ranks do theirs."""
        if not self._rehearsed:
            mine = [at for at in range(schedule.segments) if schedule.stage_of(at) == self._stage]
            with self._links.failing_together("making its stage ready"):
                self._bound.rehearse(mine, inputs(Cell(0, 0, 0, ())))
            self._rehearsed = True

    def begin(self, schedule: Schedule) -> Progress:
        """The way of a sample through a schedule."""
        digest = schedule.digest()
        if digest not in self._agreed:
            self._links.agree({"schedule": digest})
            self._agreed.add(digest)
        mail = Mail(schedule, self._bound.segments, self._links, self._members, self._forms)
        return Progress(schedule, (self._stage,), self._bound, mail)

    def confirm(self, progress: Progress, evaluation: int) -> None:
        """Raises if an evaluation failed anywhere."""
        with self._links.failing_together(f"evaluation {evaluation}"):
            progress.check()

    def shared(self, prediction: Prediction | None) -> Prediction:
        """A prediction on every member."""
        found = self.blank(prediction)
        self._links.share(0, found, "waiting for the prediction")
        return found

    def blank(self, prediction: Prediction | None) -> Prediction:
        """A prediction on the member that has it; on others anything of its form."""
        names = self._bound.segments.parts[-1].gives
        device = self._links.mesh.device
        return prediction or tuple(self._forms[name].empty(device) for name in names)


def stage_of(place: int, stages: int, *, circular: bool) -> int:
    """The stage that a member of a team runs: the first member has the shell, which makes the predictions."""
    return place if circular else (place + stages - 1) % stages


@dataclass(eq=False)
class Sample:
    """One branch of a generation, or some of its rows, on its way.

    Attributes:
        progress: through its schedule.
        first: the generation's evaluation at which the schedule began.
        visit: the latest.
        times: what the timestep was at it, by name.
    """

    progress: Progress
    first: int
    visit: Visit
    times: Mapping[str, Tensor]


class Staged:
    """A program whose latent part runs stage by stage.

    Exact evaluations give what the whole program gives, bit for bit, on every rank of the team; others on the rank
    that makes the prediction.

    Args:
        captured: the graph.
        program: it, hoisted.
        team: who runs the stages.
        timetable: what is computed when.
        time_shift: evaluations that are not exact have the timestep of the one before.
    """

    def __init__(
        self, captured: Captured, program: Program, team: Team, timetable: Timetable, *, time_shift: bool
    ) -> None:
        self._program = program
        self._team = team
        self._timetable = timetable
        self._time_shift = time_shift
        self._names = tuple(captured.inputs)
        self._times = {
            name for name, given in captured.inputs.items() if given.dependence is Dependence.EVALUATION
        }
        self._samples: dict[tuple[int, tuple[int, int] | None], Sample] = {}

    @torch.no_grad()
    def __call__(self, tensors: Sequence[Tensor], visit: Visit | None = None) -> Any:
        """The output for a request's tensors; without a visit, nothing old is read and nothing kept."""
        asked = visit or Visit(0, -1, 0, 1, exact=True)
        known = self._sample(asked)
        given = dict(zip(self._names, tensors, strict=True))
        schedule = known.progress.schedule if known else self._timetable(asked.evaluations - asked.evaluation)
        evaluation = asked.evaluation - (known.first if known else asked.evaluation)
        exact = schedule.exact(0, evaluation)
        times = {name: given[name].clone() for name in self._times} if self._time_shift else {}
        if known is not None and self._time_shift and not exact:
            given |= known.times
        sample = known or Sample(self._team.begin(schedule), asked.evaluation, asked, times)
        self._samples[asked.branch, asked.rows] = sample
        sample.visit, sample.times = asked, times
        inputs = self._inputs(given)
        self._team.rehearse(schedule, inputs)
        prediction = sample.progress.evaluate(evaluation, inputs)
        if not exact:
            sample.progress.check()
            return self._program.output(self._team.blank(prediction))
        # What failed elsewhere must not be compared with the modules, nor go on.
        self._team.confirm(sample.progress, asked.evaluation)
        return self._program.output(self._team.shared(prediction))

    def forget(self) -> None:
        """Gives up every sample that is on its way."""
        while self._samples:
            _, sample = self._samples.popitem()
            sample.progress.settle()

    def _inputs(self, given: Mapping[str, Tensor]) -> Inputs:
        """What every cell of an evaluation reads, made when the first one does."""
        made: list[Values] = []

        def inputs(_: Cell) -> Values:
            if not made:
                made.append(self._program.values([given[name] for name in self._names]))
            return made[0]

        return inputs

    def _sample(self, visit: Visit) -> Sample | None:
        """The sample that a visit goes on with; None where one begins."""
        if any(sample.visit.generation != visit.generation for sample in self._samples.values()):
            self.forget()
        found = self._samples.get((visit.branch, visit.rows))
        if found is None:
            return None
        follows = replace(found.visit, evaluation=found.visit.evaluation + 1) == replace(
            visit, exact=found.visit.exact
        )
        if follows and visit.evaluation - found.first < found.progress.schedule.evaluations:
            return found
        self._samples.pop((visit.branch, visit.rows)).progress.settle()
        return None
