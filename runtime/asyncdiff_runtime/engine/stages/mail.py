"""Brings values from stage to stage over a team's links, sent as soon as they are there."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import RankFailed
from .cell import Store
from .links import Links
from .parcels import Form, Parcel, parcels
from .schedule import Cell, Schedule, Value
from .segments import Segments

_UNDER_WAY = 2
"""Ticks whose messages may be on their way at once: what is sent now never waits for what was sent just before."""


@dataclass(eq=False)
class Arrival:
    """A message that is being received."""

    parcel: Parcel
    buffer: Tensor
    works: list[dist.Work]


@dataclass(eq=False)
class Failure:
    """What a stage says in place of the form of what it should have made."""

    sentence: str


class Mail:
    """The messages of one sample, as far as they concern this stage.

    A stage whose work fails keeps sending, whatever is in its buffers, until the evaluation ends: so nobody waits for
    it, and all learn of it at once where predictions are gathered.

    Args:
        schedule: whose messages.
        segments: what is read of each version.
        links: to the other stages.
        members: by stage, its place in the team.
        forms: of every value that travels, and of predictions; filled when a segment first runs.
    """

    def __init__(
        self,
        schedule: Schedule,
        segments: Segments,
        links: Links,
        members: Mapping[int, int],
        forms: dict[str, Form],
    ) -> None:
        self._schedule = schedule
        self._segments = segments
        self._links = links
        self._members = members
        self._forms = forms
        self._stage = next(stage for stage, member in members.items() if member == links.place)
        self._by_tick: dict[int, list[Parcel]] = {}
        for parcel in parcels(schedule, segments):
            if self._stage in (parcel.source, parcel.target):
                self._by_tick.setdefault(parcel.tick, []).append(parcel)
        self._arriving: dict[Value, Arrival] = {}
        self._leaving: deque[tuple[list[dist.Work], list[Tensor], str]] = deque()

    def collect(self, cell: Cell, store: Store) -> None:
        """Puts into the store what a cell reads and other stages made; waits for it."""
        for value in cell.reads:
            arrival = self._arriving.get(value)
            if arrival is not None:
                self._open(arrival, store)

    def exchange(self, tick: int, store: Store) -> None:
        """Sends what was made at a tick to those who will read it, and receives what they made."""
        for cells in self._schedule.ticks[tick]:
            for cell in cells:
                if not self._known(cell.segment):
                    self._introduce(cell, store)
        sends, receives, arriving = {}, {}, []
        for parcel in self._by_tick.get(tick, ()):
            buffer = torch.empty(parcel.bytes(self._forms), dtype=torch.uint8, device=self._links.mesh.device)
            if parcel.source == self._stage:
                parcel.pack(store, self._forms, buffer)
                sends[self._members[parcel.target]] = buffer
            else:
                receives[self._members[parcel.source]] = buffer
                arriving.append(Arrival(parcel, buffer, []))
        works = self._links.swap(sends, receives)
        for arrival in arriving:
            # On a GPU, a batch of messages is one piece of work; else each has its own, in their order.
            arrival.works = (
                works
                if len(works) < len(sends) + len(receives)
                else [works[len(sends) + arriving.index(arrival)]]
            )
            self._arriving |= dict.fromkeys((value for value, _ in arrival.parcel.contents), arrival)
        if sends:
            self._leaving.append((works[: len(sends)], list(sends.values()), f"tick {tick}"))
        while len(self._leaving) > _UNDER_WAY:
            self._sent()

    def settle(self) -> None:
        """Waits for whatever is on its way, and forgets it."""
        for arrival in dict.fromkeys(self._arriving.values()):
            self._links.wait(arrival.works, self._waiting_for(arrival))
        self._arriving.clear()
        while self._leaving:
            self._sent()

    def _open(self, arrival: Arrival, store: Store) -> None:
        self._links.wait(arrival.works, self._waiting_for(arrival))
        for value, made in arrival.parcel.unpack(arrival.buffer, self._forms).items():
            store[value] = made
            del self._arriving[value]

    def _sent(self) -> None:
        works, _, about = self._leaving.popleft()
        self._links.wait(works, f"sending what was made at {about}")

    def _waiting_for(self, arrival: Arrival) -> str:
        rank = self._links.ranks[self._members[arrival.parcel.source]]
        return f"waiting for {arrival.parcel} on rank {rank}"

    def _known(self, segment: int) -> bool:
        return all(name in self._forms for name in self._segments.parts[segment].gives)

    def _introduce(self, cell: Cell, store: Store) -> None:
        """Tells all stages the forms of what a segment gives, which nobody knows before it ran."""
        owner = self._schedule.stage_of(cell.segment)
        member = self._members[owner]
        made = store.get(cell.value)
        told = (
            {name: Form.of(tensor) for name, tensor in made.items()}
            if made is not None
            else Failure(f"Rank {self._links.ranks[member]} failed at segment {cell.segment}")
        )
        rank = self._links.ranks[member]
        heard = self._links.announce(
            member, told, f"waiting for the first run of segment {cell.segment} on rank {rank}"
        )
        if isinstance(heard, Failure):
            raise RankFailed(
                f"{heard.sentence}; this rank ({self._links.mesh.rank}) stopped with it. The cause is in the traceback "
                f"of rank {rank}."
            )
        self._forms |= heard
