"""What one generation took: read by the command line, the job's status and the benchmarks."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

Mismatch = float | Tensor | None
"""A relative distance, perhaps still on its device; None where there was nothing to compare."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of one generation, i.e. one call of the pipeline.

    Attributes:
        generation: counts the pipeline's calls, from 1.
        evaluations: visits of a timestep.
        critical_path: rounds run one after the other; equals `evaluations` when nothing was foretold.
        accepted: evaluations answered by a prediction made ahead.
        rejected: predictions made ahead whose input turned out too far off, or whose conditions had changed.
        unused: predictions made ahead that the loop never reached.
        mismatch: for each evaluation the relative distance of its foretold input; None where it was exact.
        waiting_seconds: time this rank spent in gathers, transfer included.
        captures: graphs captured during it; none where those of earlier generations served.
        stale: evaluations in which stages read what others gave at earlier ones.
        sent_bytes: that this rank has sent the other stages of its team.
        notes: what was decided and why, in sentences.
    """

    generation: int
    evaluations: int
    critical_path: int
    accepted: int
    rejected: int
    unused: int
    mismatch: tuple[float | None, ...]
    waiting_seconds: float
    captures: int = 0
    stale: int = 0
    sent_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """Evaluations for each round of the critical path: the speed-up if communication were free."""
        return self.evaluations / self.critical_path if self.critical_path else 1.0

    @property
    def waiting_per_evaluation(self) -> float:
        """Seconds that this rank waited for others at an evaluation, on average."""
        return self.waiting_seconds / max(1, self.evaluations)

    @property
    def bytes_per_evaluation(self) -> float:
        """Bytes that this rank sent other stages at an evaluation, on average."""
        return self.sent_bytes / max(1, self.evaluations)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass(eq=False)
class Tally:
    """Counts while a generation runs."""

    generation: int
    rounds: int = 0
    foretold: int = 0
    accepted: int = 0
    rejected: int = 0
    waiting_seconds: float = 0.0
    captures: int = 0
    sent_bytes: int = 0
    stale: set[int] = field(default_factory=set)
    mismatch: dict[int, Mismatch] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def visited(self) -> int:
        """Evaluations begun so far."""
        return len(self.mismatch)

    def visit(self, evaluation: int) -> None:
        """An evaluation has begun."""
        self.mismatch.setdefault(evaluation, None)

    def settle(self, evaluation: int, mismatch: Mismatch, *, accepted: bool) -> None:
        """A prediction made ahead was used or not; `mismatch` is None if its conditions had changed."""
        self.mismatch[evaluation] = mismatch
        self.accepted += accepted
        self.rejected += not accepted

    def note(self, sentence: str) -> bool:
        """Keeps a sentence once; True the first time."""
        if sentence in self.notes:
            return False
        self.notes.append(sentence)
        return True

    def report(self) -> Report:
        """The figures so far."""
        return Report(
            generation=self.generation,
            evaluations=len(self.mismatch),
            critical_path=self.rounds,
            accepted=self.accepted,
            rejected=self.rejected,
            unused=self.foretold - self.accepted - self.rejected,
            mismatch=tuple(_number(self.mismatch[index]) for index in sorted(self.mismatch)),
            waiting_seconds=self.waiting_seconds,
            captures=self.captures,
            stale=len(self.stale),
            sent_bytes=self.sent_bytes,
            notes=tuple(self.notes),
        )


def _number(mismatch: Mismatch) -> float | None:
    return None if mismatch is None else float(mismatch)
