"""The ranks that work on one sample, and the one collective step that they share.

A round has `degree` evaluations, each split over `groups` groups: `degree × groups` slots. Slots are dealt
out to the ranks in turn, so that one process alone can work off all of them: it then computes, bit for bit,
what the ranks would have computed together.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import LayoutError, RankFailed, RanksDiverged, RankTimeout

_HEADER = 4  # int64 words: failed, generation, evaluation, checksum
CUT_OFF = ("timed out", "timeout", "connection", "closed")  # how gloo tells of a peer that is gone or late


@dataclass(frozen=True)
class Layout:
    """How the slots of a round are laid over the ranks.

    Attributes:
        degree: evaluations of one round.
        groups: groups over which the rows or branches of each evaluation are split.
        world: ranks there are.
        stages: ranks of a team, which works off a slot together; the first of them has the prediction.
    """

    degree: int
    groups: int
    world: int
    stages: int = 1

    @classmethod
    def fit(cls, *, degree: int, world: int, split: bool | str) -> "Layout":
        """Lays `degree` evaluations over `world` ranks; what is left over splits guidance.

        Args:
            degree: evaluations of one round, at least 1.
            world: ranks there are.
            split: True, False or "auto": whether guidance branches and rows are split over groups.

        Raises:
            LayoutError: the ranks cannot be divided so.
        """
        if degree < 1:
            raise LayoutError(f"degree is {degree}; a round has at least 1 evaluation.")
        if world == 1:
            return cls(degree, 2 if split is True else 1, 1)
        _check(world, degree, split, name="degree", sets=f"rounds of {degree} evaluations", choice="a degree")
        return cls(degree, world // degree, world)

    @classmethod
    def of_teams(cls, *, stages: int, world: int, split: bool | str) -> "Layout":
        """Lays teams of `stages` ranks over `world` ranks, which split guidance among them.

        Args:
            stages: ranks that share an evaluation, at least 1; one rank alone does all of a team's work.
            world: ranks there are.
            split: as for `fit`.

        Raises:
            LayoutError: the ranks cannot be divided so.
        """
        if world == 1:
            return cls.fit(degree=1, world=1, split=split)
        _check(
            world, stages, split, name="stages", sets=f"teams of {stages} stages", choice="a number of stages"
        )
        return cls(1, world // stages, world, stages)

    @property
    def teams(self) -> int:
        """Ranks, or sets of ranks, that work off slots side by side."""
        return self.world // self.stages

    @property
    def turns(self) -> int:
        """Slots of a round that a team works off, at most."""
        return -(-self.slots // self.teams)

    def place(self, slot: int) -> tuple[int, int]:
        """The rank that has what a slot gives, and at which of its turns."""
        turn, team = divmod(slot, self.teams)
        return team * self.stages, turn

    @property
    def slots(self) -> int:
        """Evaluation parts of one full round."""
        return self.degree * self.groups

    def slots_of(self, rank: int) -> list[tuple[int, int]]:
        """The (evaluation of the round, group) pairs that `rank` works off."""
        return [divmod(slot, self.groups) for slot in range(rank // self.stages, self.slots, self.teams)]


@dataclass(eq=False)
class Mesh:
    """This process among the ranks, and the gather that they all take part in.

    Args:
        device: where this rank computes.
        timeout_seconds: how long a gather waits for a rank that does not come.
        group: ranks that take part; None for all, or for a process alone.
    """

    device: torch.device
    timeout_seconds: float = 600.0
    group: "dist.ProcessGroup | None" = None
    waiting_seconds: float = field(default=0.0, init=False)
    _events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list, init=False)
    _unread: "_Headers | None" = field(default=None, init=False)

    @property
    def world(self) -> int:
        """Ranks that take part."""
        return dist.get_world_size(self.group) if dist.is_initialized() else 1

    @property
    def rank(self) -> int:
        """This process among them."""
        return dist.get_rank(self.group) if dist.is_initialized() else 0

    def gather(self, stamp: "Stamp", payload: Tensor) -> list[Tensor]:
        """Exchanges equal-sized byte payloads; every rank gets all of them, in rank order.

        Args:
            stamp: where this rank stands, compared over all ranks at the latest one gather later.
            payload: uint8, `(bytes,)`, of the same length on every rank.

        Raises:
            RankFailed: a rank said that its evaluation failed.
            RanksDiverged: the stamps differ.
            RankTimeout: a rank did not arrive in time.
        """
        self.check()
        if self.world == 1:
            return [payload]
        head = stamp.encoded(self.device)
        mine = torch.cat([head.view(torch.uint8), payload])
        gathered = mine.new_empty(self.world * mine.numel())
        self._all_gather(gathered, mine, stamp)
        everyone = gathered.view(self.world, -1)
        split = _HEADER * 8
        self._unread = _Headers.read(everyone[:, :split].contiguous().view(torch.int64), self.rank)
        if stamp.failed or self.device.type != "cuda":
            self.check()
        return [row[split:] for row in everyone]

    def check(self) -> None:
        """Compares the stamps of the last gather, if that has not been done yet."""
        headers, self._unread = self._unread, None
        if headers is not None:
            headers.verify(self.timeout_seconds)

    def forget(self) -> None:
        """Leaves the last gather's stamps uncompared: the generation they belong to has ended in an error."""
        self._unread = None

    def waited_seconds(self) -> float:
        """Time this rank has spent in gathers since it was last asked, transfer included."""
        for begin, end in self._events:
            end.synchronize()
            self.waiting_seconds += begin.elapsed_time(end) / 1000
        self._events.clear()
        waited, self.waiting_seconds = self.waiting_seconds, 0.0
        return waited

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts what happens within it as waiting for other ranks."""
        if self.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
            return
        began = perf_counter()
        yield
        self.waiting_seconds += perf_counter() - began

    def _all_gather(self, everyone: Tensor, mine: Tensor, stamp: "Stamp") -> None:
        if self.device.type == "cuda":
            with self.timed():
                dist.all_gather_into_tensor(everyone, mine, group=self.group)
            return
        began = perf_counter()
        try:
            with self.timed():
                work = dist.all_gather_into_tensor(everyone, mine, group=self.group, async_op=True)
                assert work is not None
                work.wait(timedelta(seconds=self.timeout_seconds))
        except RuntimeError as error:
            if not any(word in str(error).lower() for word in CUT_OFF):
                raise
            raise RankTimeout(
                f"Rank {self.rank} waited for the other {self.world - 1} ranks at {stamp} and was cut off after "
                f"{perf_counter() - began:.0f} s ({error}). A rank died, or left the sampling loop on its own: "
                f"look at the first traceback among the ranks."
            ) from error


@dataclass(eq=False)
class Alone(Mesh):
    """This process without the other ranks that there may be."""

    @property
    def world(self) -> int:
        """Itself."""
        return 1

    @property
    def rank(self) -> int:
        """The first of one."""
        return 0


@dataclass(frozen=True)
class Stamp:
    """Where a rank stands when it enters a gather.

    Attributes:
        generation: counts pipeline calls.
        evaluation: index in the scheduler's timesteps.
        checksum: of what the rank was given, a 0-dim int64 tensor on the rank's device.
        failed: the rank's own evaluation raised; its payload means nothing.
    """

    generation: int
    evaluation: int
    checksum: Tensor
    failed: bool = False

    def encoded(self, device: torch.device) -> Tensor:
        """Four int64 words on `device`."""
        words = torch.tensor([int(self.failed), self.generation, self.evaluation], dtype=torch.int64)
        return torch.cat([words.to(device, non_blocking=True), self.checksum.reshape(1)])

    def __str__(self) -> str:
        return f"evaluation {self.evaluation} of generation {self.generation}"


@dataclass(frozen=True, eq=False)
class _Headers:
    """The stamps of all ranks, on their way to the host."""

    words: Tensor
    arrived: "torch.cuda.Event | None"
    rank: int

    @classmethod
    def read(cls, words: Tensor, rank: int) -> "_Headers":
        if words.device.type != "cuda":
            return cls(words, None, rank)
        host = torch.empty(words.shape, dtype=words.dtype, pin_memory=True)
        host.copy_(words, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return cls(host, event, rank)

    def verify(self, timeout_seconds: float) -> None:
        if self.arrived is not None:
            deadline = perf_counter() + timeout_seconds
            while not self.arrived.query():
                if perf_counter() > deadline:
                    raise RankTimeout(
                        f"Rank {self.rank} has waited {timeout_seconds:.0f} s for the other ranks' predictions. "
                        f"A rank died, or left the sampling loop on its own: look at the first traceback."
                    )
        _agree(self.words.tolist(), self.rank)


def _check(world: int, size: int, split: bool | str, *, name: str, sets: str, choice: str) -> None:
    """Makes sure that ranks can be divided into sets of a size, and that guidance has what is left of them."""
    if world % size:
        raise LayoutError(
            f"{world} ranks cannot be divided into {sets} ({world} / {size} is no whole number). Start "
            f"{size * max(1, world // size)} or {size * (world // size + 1)} ranks, or choose {choice} that divides "
            f"{world}."
        )
    if split is False and world > size:
        raise LayoutError(
            f"{name}={size} occupies {size} of {world} ranks and guidance_split=False leaves the other "
            f"{world - size} without work. Set guidance_split='auto' or start {size} ranks."
        )
    if split is True and world == size:
        raise LayoutError(
            f"{name}={size} on {world} ranks leaves none to split guidance over; guidance_split=True needs {2 * size}."
        )


def _agree(rows: Sequence[Sequence[int]], rank: int) -> None:
    failed = [r for r, row in enumerate(rows) if row[0]]
    if failed and failed != [rank] and rank not in failed:
        raise RankFailed(
            f"{_ranks(failed)} failed at evaluation {rows[failed[0]][2]} of generation {rows[failed[0]][1]}; "
            f"this rank ({rank}) stopped with it. The cause is in the traceback of rank {failed[0]}."
        )
    if failed:
        return
    odd = [r for r, row in enumerate(rows) if list(row[1:3]) != list(rows[0][1:3])]
    if odd:
        raise RanksDiverged(
            f"{_ranks(odd)} stand at evaluation {rows[odd[0]][2]} of generation {rows[odd[0]][1]}, rank 0 at "
            f"evaluation {rows[0][2]} of generation {rows[0][1]}. Every rank must call the pipeline with the same "
            f"arguments, the same number of times."
        )
    odd = [r for r, row in enumerate(rows) if row[3] != rows[0][3]]
    if odd:
        raise RanksDiverged(
            f"{_ranks(odd)} entered evaluation {rows[0][2]} of generation {rows[0][1]} with other inputs than "
            f"rank 0. Every rank must pass the same prompt, size and generator seed; callbacks must do the same "
            f"on every rank."
        )


def _ranks(ranks: Sequence[int]) -> str:
    return f"Rank {ranks[0]}" if len(ranks) == 1 else f"Ranks {', '.join(map(str, ranks))}"


def checksum(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """A 0-dim int64 tensor that differs, in all likelihood, where any of the tensors differs in a bit."""
    total = torch.zeros((), dtype=torch.int64, device=device)
    for place, tensor in enumerate(tensors, start=1):
        total += place * _bits(tensor).sum(dtype=torch.int64).to(device, non_blocking=True)
    return total


def _bits(tensor: Tensor) -> Tensor:
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    dense = tensor.contiguous()
    return dense if dense.dtype is torch.bool else dense.view(integers[dense.element_size()])


def join(device_type: str, timeout_seconds: float = 600.0) -> torch.device:
    """Joins the process group that torchrun describes, unless that was done; gives this rank's device.

    Args:
        device_type: "cuda" or "cpu".
        timeout_seconds: how long ranks wait for each other, at the start and in each collective; torch's own
            default, ten minutes with NCCL, is shorter than a first compilation may take.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if device_type == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        timeout = timedelta(seconds=timeout_seconds)
        if device.type == "cuda":
            dist.init_process_group("nccl", device_id=device, timeout=timeout)
        else:
            dist.init_process_group("gloo", timeout=timeout)
    return device
