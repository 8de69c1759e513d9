"""One parallelised pipeline: answers its denoiser calls by rounds over the mesh."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .call import Call
from .errors import SplitRefused
from .evaluations import evaluations
from .executor import Executor
from .generation import Branch, Generation, Prepared
from .mesh import Stamp, checksum
from .report import Report, Tally
from .request import Companion, Request, Visit
from .strategy import AsyncStages, Data, Lookahead, Strategy
from .timesteps import Timesteps

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""A branch: the denoiser's name and the pipeline's name for the call, or its place among the unnamed."""


@dataclass(eq=False)
class Session:
    """Answers the calls that the hooks pass on.

    Args:
        pipe: the pipeline; its scheduler is read at each call.
        strategy: what was asked for.
        executor: runs rounds.
        must_split: too few rows to split are an error, not a remark.
    """

    pipe: Any
    strategy: Strategy
    executor: Executor
    must_split: bool = False
    _generation: Generation | None = field(default=None, init=False)
    _latest: Tally | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)

    @property
    def report(self) -> Report | None:
        """Figures of the latest generation, also while it runs; None before the first."""
        if self._latest is None:
            return None
        self._take_figures(self._latest)
        return self._latest.report()

    def defer(self, name: str, call: Call) -> Any:
        """Answers a companion's call: with placeholders where its output is known to reach the denoiser."""
        generation = self._enter(call, None)
        companion = Companion(name, call)
        generation.pending.append(companion)
        shape = generation.passing.get(name)
        return companion.output() if shape is None else companion.placeholders(shape)

    def denoise(self, denoiser: str, context: str | None, call: Call) -> Any:
        """Answers a denoiser's call.

        Args:
            denoiser: name of the module in the pipeline.
            context: the pipeline's name for this call (`cache_context`), where it gives one.
            call: the call.
        """
        try:
            return self._answer(denoiser, context, call)
        except BaseException:
            self._generation = None
            self.executor.mesh.forget()
            raise

    def _answer(self, denoiser: str, context: str | None, call: Call) -> Any:
        generation = self._enter(call, (denoiser, context) if context else None)
        key = (denoiser, context or f"call {sum(name == denoiser for name, _ in generation.asked)}")
        leads = not generation.asked
        request = Request.of(call, generation.pending)
        generation.passing.update({c.name: c.shape() for c in request.companions if c.given()})
        branch = generation.branches.setdefault(key, Branch(generation.table, self._data_deviation))
        branch.observe(generation.position, request, generation.timesteps, generation.leader)
        generation.asked.append(key)
        if leads:
            generation.leader = request
        prepared = branch.prepared.pop(generation.position, None)
        if prepared is not None:
            answer, mismatch = branch.settle(prepared, request, generation.position, self._tolerance)
            if leads:
                generation.tally.settle(generation.position, mismatch, accepted=answer is not None)
            if answer is not None:
                return answer
        answer = self._round(generation, key, request, leads=leads)
        if generation.table is not None and branch.observed == 2:  # constants are known from the second on
            branch.check(answer)
        return answer

    def _round(self, generation: Generation, key: Key, request: Request, *, leads: bool) -> Any:
        """Evaluates the request and, beside it, what is expected to be asked next."""
        position, branch = generation.position, generation.branches[key]
        ahead = self._ahead(generation, branch)
        joins = (
            leads and not isinstance(self.strategy, Data) and (ahead > 1 or self.executor.layout.groups > 1)
        )
        followers = generation.followers(key) if joins else []
        grid = [[request, *(follower.joined(request) for follower in followers)]]
        for index in range(position + 1, position + ahead):
            foretold = branch.foretold(request, index)
            grid.append([foretold, *(follower.joined(foretold) for follower in followers)])
        if leads:
            self._remark_on_idle_groups(generation, grid[0])
            generation.tally.rounds += 1
            generation.tally.foretold += ahead - 1
        if isinstance(self.strategy, AsyncStages):
            _mark_visits(generation, self.strategy, (branch, *followers), grid[0])
        outputs = self.executor.run(self._stamp(generation, request), grid)
        for index, (requests, answers) in enumerate(zip(grid, outputs, strict=True), start=position):
            for member, asked, answer in zip((branch, *followers), requests, answers, strict=True):
                if asked is not request:
                    member.prepared[index] = Prepared(asked, answer)
        if position == generation.timesteps.end - 1:
            self.executor.mesh.check()
        return outputs[0][0]

    def _ahead(self, generation: Generation, branch: Branch) -> int:
        """Evaluations of the round that begins here."""
        if not isinstance(self.strategy, Lookahead) or generation.table is None:
            return 1
        if generation.tally.visited <= self.strategy.warmup or not branch.ready:
            return 1
        remaining = generation.timesteps.end - self.strategy.exact_tail - generation.position
        return max(1, min(self.strategy.degree, remaining))

    def _enter(self, call: Call, key: Key | None) -> Generation:
        """The generation and evaluation that a call belongs to, begun if need be."""
        scheduler, generation = self.pipe.scheduler, self._generation
        if generation is None or scheduler.timesteps is not generation.timesteps.tensor:
            generation = self._begin(scheduler)
        position = self._position(generation, call, key)
        if generation.position >= 0 and position not in (generation.position, generation.position + 1):
            generation = self._begin(scheduler)
        generation.enter(position)
        return generation

    def _position(self, generation: Generation, call: Call, key: Key | None) -> int:
        expected = generation.expected(key)
        found = generation.timesteps.position(call.timestep, self.pipe.scheduler, expected)
        return expected if found is None else found

    def _begin(self, scheduler: Any) -> Generation:
        if self._latest is not None:
            self._take_figures(self._latest)
        self._count += 1
        looks_ahead = isinstance(self.strategy, Lookahead) and self.strategy.degree > 1
        table = evaluations(scheduler) if looks_ahead else None
        self._latest = Tally(self._count)
        self.executor.evaluate.begin(self._latest)
        self._generation = Generation(Timesteps.of(self.pipe, scheduler), table, self._latest)
        if table is not None and table.stochastic:
            self._remark(
                f"{type(scheduler).__name__} adds fresh noise at every step, so that no later input can be foretold "
                f"and no prediction made ahead will be accepted. Use an ODE sampler (Euler, DPM-Solver++, UniPC), "
                f"or Exact()."
            )
        return self._generation

    def _take_figures(self, tally: Tally) -> None:
        """Adds what was counted elsewhere since the last time."""
        tally.waiting_seconds += self.executor.mesh.waited_seconds()
        if self.executor.links is not None:
            tally.sent_bytes += self.executor.links.sent_bytes()

    def _remark_on_idle_groups(self, generation: Generation, requests: list[Request]) -> None:
        """Says once that there is less to split than there are groups."""
        groups, rows = self.executor.layout.groups, sum(request.rows for request in requests)
        if rows >= groups or generation.tally.visited != 2:  # branches are known from the second on
            return
        sentence = (
            f"Each evaluation has {rows} row{'s' * (rows > 1)} to split over {groups} groups, so {groups - rows} of "
            f"them have no work. Guidance is off or the batch is small: use fewer ranks, a larger batch, or a "
            f"higher lookahead degree."
        )
        if self.must_split:
            raise SplitRefused(sentence)
        self._remark(sentence)

    def _remark(self, sentence: str) -> None:
        assert self._latest is not None
        if self._latest.note(sentence) and self.executor.mesh.rank == 0:
            logger.warning(sentence)

    def _stamp(self, generation: Generation, request: Request) -> Stamp:
        mesh = self.executor.mesh
        first = generation.tally.visited == 1
        seen = (request.call.tensors() if first else [request.call.x]) if mesh.world > 1 else []
        return Stamp(generation.tally.generation, generation.position, checksum(seen, mesh.device))

    @property
    def _tolerance(self) -> float:
        return self.strategy.tolerance if isinstance(self.strategy, Lookahead) else 0.0

    @property
    def _data_deviation(self) -> float:
        return self.strategy.data_deviation if isinstance(self.strategy, Lookahead) else 1.0


def _mark_visits(
    generation: Generation, strategy: AsyncStages, branches: Sequence[Branch], requests: Sequence[Request]
) -> None:
    """Tells each branch's request which question of the generation it is."""
    evaluation = generation.position - generation.first
    evaluations = max(generation.timesteps.end - generation.first, evaluation + 1)
    exact = strategy.exact(evaluation, evaluations)
    if not exact:
        generation.tally.stale.add(evaluation)
    order = {id(branch): at for at, branch in enumerate(generation.branches.values())}
    for branch, request in zip(branches, requests, strict=True):
        request.visit = Visit(generation.tally.generation, order[id(branch)], evaluation, evaluations, exact)
