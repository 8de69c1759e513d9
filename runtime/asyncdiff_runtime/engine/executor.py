"""Runs one round: every slot on its rank, one gather, and the same outputs on all ranks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch

from .errors import PeerError, SplitRefused
from .mesh import Layout, Mesh, Stamp
from .report import Tally
from .request import Request
from .split import Frame, OutputForm, difference, divide, tolerance
from .stages.links import Links


class Evaluator(Protocol):
    """Answers requests on this rank, as `Request.run` does."""

    def begin(self, tally: Tally) -> None:
        """A generation begins; `tally` takes what is to be said about it."""

    def __call__(self, request: Request) -> Any:
        """The output of a request."""

    def plainly(self, request: Request) -> Any:
        """The output of a request by itself, made in the plainest way there is: by its modules, if they can."""


@runtime_checkable
class Rehearsing(Protocol):
    """What has to be prepared before it answers well, which takes seconds to minutes."""

    def rehearse(self, request: Request) -> None:
        """Prepares for requests like this one, unless that is done."""


class Plainly:
    """Evaluates each request by its modules."""

    def begin(self, tally: Tally) -> None:
        """Nothing is kept from one generation to the next."""

    def __call__(self, request: Request) -> Any:
        """The output of a request."""
        return request.run()

    plainly = __call__


Grid = Sequence[Sequence[Request]]
"""The requests of a round: `grid[k]` are those of its k-th evaluation."""


@dataclass(eq=False)
class Executor:
    """Works off rounds over a mesh.

    Args:
        mesh: this process among the ranks.
        layout: how the slots of a round are laid over them.
        evaluate: answers a request on this rank.
        links: to the ranks with which this one shares a sample; None if there are none.
    """

    mesh: Mesh
    layout: Layout
    evaluate: Evaluator = field(default_factory=Plainly)
    links: Links | None = None
    _forms: dict[Any, OutputForm] = field(default_factory=dict, init=False)
    _proven: set[Any] = field(default_factory=set, init=False)

    def run(self, stamp: Stamp, grid: Grid) -> list[list[Any]]:
        """Evaluates a round; `result[k][j]` answers `grid[k][j]`.

        Raises:
            SplitRefused: the denoiser gives another result when its rows are evaluated apart.
            PeerError: another rank failed, diverged or did not come.
        """
        if self.layout.slots == 1 and self.mesh.world == 1:
            return [[self.evaluate(request) for request in requests] for requests in grid]
        keys = [request.signature() for request in grid[0]]
        for request, key in zip(grid[0], keys, strict=True):
            if key not in self._forms:
                self._learn(stamp, request, key)
        whole = self._whole(grid[0])
        if not whole:
            for request, key in zip(grid[0], keys, strict=True):
                self._prove(stamp, request, key)
        parts = divide([request.rows for request in grid[0]], self.layout.groups, whole=whole)
        frame = Frame.of([self._forms[key] for key in keys], parts)
        return self._exchange(stamp, grid, frame, self.evaluate, partial(self._rehearse, grid, frame))

    def release(self) -> None:
        """Lets go of what was kept to answer requests, which are answered by the modules from now on."""
        self.evaluate = Plainly()
        if self.links is not None:
            self.links.close()
            self.links = None

    def _whole(self, requests: Sequence[Request]) -> bool:
        """Whether branches are dealt out whole: rows need not be cut, or cannot."""
        groups = self.layout.groups
        return (
            groups == 1 or len(requests) % groups == 0 or sum(request.rows for request in requests) < groups
        )

    def _learn(self, stamp: Stamp, request: Request, key: Any) -> None:
        """Evaluates a new kind of request on every rank, to know the form of its output."""
        nothing = torch.empty(0, dtype=torch.uint8, device=self.mesh.device)
        with self._failing_together(stamp, nothing):
            output = self.evaluate.plainly(request)
        self.mesh.gather(stamp, nothing)
        self._forms[key] = OutputForm.of(output, request.rows)

    def _prove(self, stamp: Stamp, request: Request, key: Any) -> None:
        """Compares, once for each kind of request, rows evaluated apart with the whole batch."""
        if key in self._proven or request.rows == 1:
            return
        form = self._forms[key]
        if not form.by_row():
            raise SplitRefused(
                f"The denoiser's output {[tuple(shape) for shape in form.shapes]} is not by row of its "
                f"{request.rows}-row input, so it cannot be split. Set guidance_split=False."
            )
        groups = self.layout.groups
        frame = Frame.of([form], divide([request.rows], groups, whole=True))
        whole = self._exchange(stamp, [[request]], frame, self.evaluate.plainly)
        try:
            frame = Frame.of([form], divide([request.rows], groups, whole=False))
            apart = self._exchange(stamp, [[request]], frame, self.evaluate.plainly)
        except Exception as error:
            raise SplitRefused(
                f"The denoiser cannot evaluate some of its {request.rows} rows without the others ({error}). "
                f"Set guidance_split=False."
            ) from error
        found, allowed = difference(apart[0][0], whole[0][0]), tolerance(request.call.x.dtype)
        if not found <= allowed:
            raise SplitRefused(
                f"Evaluated in {groups} parts, the denoiser's rows differ from the whole batch by {found:.1e} "
                f"relative; rounding explains {allowed:.0e}. Its attention processors mix the rows of a batch "
                f"(perturbed-attention guidance does). Set guidance_split=False."
            )
        self._proven.add(key)

    def _rehearse(self, grid: Grid, frame: Frame) -> None:
        """Prepares a rank that has nothing to do in a round for what it will be asked in later ones.

        Else it would prepare when its first turn comes, and all others, who are ready by then, would wait for it.
        """
        slots = self.layout.slots_of(self.mesh.rank)
        busy = any(ahead < len(grid) and frame.groups[group] for ahead, group in slots)
        if busy or not slots or not isinstance(self.evaluate, Rehearsing):
            return
        (_, group), *_ = slots
        # A group without a part, of a branch that comes alone, has one like it when the branches come together.
        for part, _ in frame.groups[group] or next(filter(None, frame.groups), ()):
            self.evaluate.rehearse(grid[0][part.request].take(part.start, part.stop))

    def _exchange(
        self,
        stamp: Stamp,
        grid: Grid,
        frame: Frame,
        evaluate: Callable[[Request], Any],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[list[Any]]:
        """Runs this rank's slots by `evaluate`, gathers all and joins the parts.

        What is done `meanwhile` comes last before the gather, where a rank without slots would only wait.
        """
        layout, mesh = self.layout, self.mesh
        payload = torch.empty(layout.turns * frame.size, dtype=torch.uint8, device=mesh.device)
        with self._failing_together(stamp, payload):
            for place, (ahead, group) in enumerate(layout.slots_of(mesh.rank)):
                if ahead < len(grid):
                    frame.fill(group, grid[ahead], payload[place * frame.size :], evaluate)
            meanwhile()
        gathered = mesh.gather(stamp, payload)

        def buffer(slot: int) -> torch.Tensor:
            rank, turn = layout.place(slot)
            return gathered[rank][turn * frame.size :]

        groups = layout.groups
        return [
            frame.join([buffer(ahead * groups + group) for group in range(groups)])
            for ahead in range(len(grid))
        ]

    @contextmanager
    def _failing_together(self, stamp: Stamp, payload: torch.Tensor) -> Iterator[None]:
        """Tells the other ranks of an exception before it leaves this one, so that none waits for it."""
        try:
            yield
        except Exception:
            with suppress(PeerError):
                self.mesh.gather(replace(stamp, failed=True), payload)
            raise
