"""The state of one generation: where it stands, its branches, and what was prepared ahead for them.

Nothing here outlives the pipeline call it belongs to, so nothing leaks from one picture into the next.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .errors import LookaheadRefused
from .evaluations import Evaluations
from .report import Mismatch, Tally
from .request import Companion, OutputShape, Request
from .timesteps import TimestepArguments, Timesteps
from .trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Prepared:
    """An answer made ahead of its question."""

    request: Request
    output: Any


@dataclass(eq=False)
class Branch:
    """One of the calls that the pipeline makes of one denoiser at every evaluation.

    Attributes:
        table: the generation's evaluations; None where nothing is to be foretold.
        data_deviation: standard deviation of clean latents.
        last: the request of the latest evaluation and its index.
        joins: its latent and timestep were those of the evaluation's first branch, so both can be asked at once.
        steady: the latest request's conditions were those of the one before.
        prepared: answers made ahead, by evaluation.
        observed: true requests recorded so far.
    """

    table: Evaluations | None
    data_deviation: float
    last: Request | None = None
    last_position: int = -1
    joins: bool = False
    steady: bool = False
    prepared: dict[int, Prepared] = field(default_factory=dict)
    observed: int = 0
    _trajectories: tuple[Trajectory, ...] = ()
    _timesteps: tuple[TimestepArguments | None, ...] = ()

    def observe(self, position: int, request: Request, timesteps: Timesteps, leader: Request | None) -> None:
        """Records the true request of an evaluation; `leader` is that of the evaluation's first branch."""
        self.steady = self.last is not None and request.follows(self.last)
        if not self.steady:
            self.prepared.clear()
        if self.last is None or len(self.last.calls) != len(request.calls):
            self._timesteps = tuple(timesteps.arguments(call.timestep, position) for call in request.calls)
            self.joins = leader is not None and _same_inputs(leader, request)
            if self.table is not None:
                self._trajectories = tuple(Trajectory(self.table, self.data_deviation) for _ in request.calls)
        else:
            self._timesteps = tuple(
                known and known.narrowed(call.timestep, position)
                for known, call in zip(self._timesteps, request.calls, strict=True)
            )
        for trajectory, call in zip(self._trajectories, request.calls, strict=False):
            trajectory.observe(position, call.x)
        self.last, self.last_position = request, position
        self.observed += 1

    @property
    def ready(self) -> bool:
        """Later inputs of this branch can be foretold now."""
        return self.steady and bool(self._trajectories) and all(t.ready for t in self._trajectories)

    def check(self, output: Any) -> None:
        """Makes sure that foretold answers can be corrected.

        Raises:
            LookaheadRefused: they cannot, or the timestep argument is unknown.
        """
        if any(arguments is None for arguments in self._timesteps):
            raise LookaheadRefused(
                "The denoiser's timestep argument is no known function of the scheduler's timesteps (it may differ "
                "from token to token), so it cannot be made for evaluations to come. Use Exact()."
            )
        if any(arguments is not None and arguments.backward for arguments in self._timesteps):
            raise LookaheadRefused(
                "The denoiser counts time from noise to picture, against its scheduler, and its prediction has the "
                "opposite sign: how to correct it is not known. Use Exact()."
            )
        leaves = pytree.tree_leaves(output)
        if len(leaves) != 1:
            raise LookaheadRefused(
                f"The denoiser gives {len(leaves)} tensors at each evaluation; lookahead corrects one. Use Exact()."
            )
        self._trajectories[-1].check(leaves[0])

    def foretold(self, request: Request, position: int) -> Request:
        """`request` at the inputs foretold for evaluation `position`."""
        xs = [trajectory.predict(position) for trajectory in self._trajectories]
        timesteps = [
            call.timestep if known is None else known.at(position, call.timestep)
            for known, call in zip(self._timesteps, request.calls, strict=True)
        ]
        return request.at(xs, timesteps)

    def joined(self, leader: Request) -> Request:
        """What this branch is expected to ask where the first branch asks `leader`."""
        assert self.last is not None
        return self.last.at([call.x for call in leader.calls], [call.timestep for call in leader.calls])

    def settle(
        self, prepared: Prepared, request: Request, position: int, tolerance: float
    ) -> tuple[Any, Mismatch]:
        """The prepared answer, corrected, if it may be used for the true request.

        A tolerance of infinity uses it without looking: nothing then waits for the device.

        Returns:
            the answer or None, and the mismatch, which may still be on its way from the device.
        """
        if not self._trajectories:
            return (prepared.output, 0.0) if _same_latents(prepared.request, request) else (None, None)
        trajectory, x, foretold = self._trajectories[-1], request.call.x, prepared.request.call.x
        if x is foretold:
            return prepared.output, 0.0
        leaves, tree = pytree.tree_flatten(prepared.output)
        mismatch = trajectory.mismatch(position, x, foretold, leaves[0])
        if tolerance < inf:
            found = float(mismatch)
            if not found <= tolerance:
                return None, found
            if found == 0.0:
                return prepared.output, found
        corrected = trajectory.corrected(position, x, foretold, leaves[0])
        return pytree.tree_unflatten([corrected], tree), mismatch


@dataclass(eq=False)
class Generation:
    """One pipeline call.

    Attributes:
        timesteps: the scheduler's, as the pipeline set them.
        table: the noise level of each evaluation; None where nothing is to be foretold.
        position: the evaluation in hand.
        asked: branches asked at it so far, the first one first.
        leader: the first branch's request.
        pending: companions called at it so far.
        passing: form of each companion's output that was seen to reach the denoiser untouched.
    """

    timesteps: Timesteps
    table: Evaluations | None
    tally: Tally
    position: int = -1
    asked: list[tuple[str, str]] = field(default_factory=list)
    leader: Request | None = None
    branches: dict[tuple[str, str], Branch] = field(default_factory=dict)
    pending: list[Companion] = field(default_factory=list)
    passing: dict[str, OutputShape] = field(default_factory=dict)
    _previous: int = 0

    @property
    def first(self) -> int:
        """The first evaluation that was visited: a pipeline may begin in the middle of its timesteps."""
        return next(iter(self.tally.mismatch), 0)

    def enter(self, position: int) -> None:
        """Moves to an evaluation; nothing happens if it is the one in hand."""
        if position != self.position:
            self.position, self._previous = position, len(self.asked)
            self.asked, self.leader, self.pending = [], None, []
            self.tally.visit(position)

    def expected(self, key: tuple[str, str] | None) -> int:
        """The evaluation that a call belongs to if its timestep does not tell: this one or the next.

        Args:
            key: the call's branch; None for a companion or a branch without a name.
        """
        if self.position < 0:
            return 0
        done = key in self.asked if key else len(self.asked) >= max(1, self._previous)
        return self.position + done

    def followers(self, key: tuple[str, str]) -> list[Branch]:
        """Branches expected to ask about the first one's latents later in this evaluation."""
        return [
            branch
            for other, branch in self.branches.items()
            if other != key
            and other[0] == key[0]
            and branch.joins
            and branch.last_position == self.position - 1
        ]


def _same_inputs(one: Request, other: Request) -> bool:
    """Equal latents at equal timesteps."""
    pairs = zip(one.calls, other.calls, strict=False)
    return _same_latents(one, other) and all(
        torch.equal(torch.as_tensor(a.timestep), torch.as_tensor(b.timestep)) for a, b in pairs
    )


def _same_latents(one: Request, other: Request) -> bool:
    if len(one.calls) != len(other.calls):
        return False
    pairs = [(a.x, b.x) for a, b in zip(one.calls, other.calls, strict=True)]
    return all(a is b or (a.shape == b.shape and torch.equal(a, b)) for a, b in pairs)
