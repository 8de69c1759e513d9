"""The ranks that share a sample, one stage each, and what goes between them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import EngineError, RankFailed, RanksDiverged, RankTimeout
from ..mesh import CUT_OFF, Mesh


@dataclass(eq=False)
class Links:
    """This rank's connections to the stages of its team.

    Args:
        mesh: this process among all ranks.
        group: the team's ranks.
        ranks: of the team's members, by their place in it.
        place: this rank's.
    """

    mesh: Mesh
    group: dist.ProcessGroup
    ranks: tuple[int, ...]
    place: int
    _sent_bytes: int = field(default=0, init=False)

    @classmethod
    def of(cls, mesh: Mesh, stages: int) -> "Links":
        """Connects this rank with its team; every rank has to call it, since all teams are made by all.

        Args:
            mesh: all ranks, a multiple of `stages`; each run of as many is a team.
            stages: how many ranks share a sample.
        """
        teams = [tuple(range(first, first + stages)) for first in range(0, mesh.world, stages)]
        bound = timedelta(seconds=mesh.timeout_seconds)
        groups = [dist.new_group(list(team), timeout=bound) for team in teams]
        mine = mesh.rank // stages
        group = groups[mine]
        assert isinstance(group, dist.ProcessGroup)
        return cls(mesh, group, teams[mine], mesh.rank % stages)

    def close(self) -> None:
        """Gives the team's connections up."""
        dist.destroy_process_group(self.group)

    def sent_bytes(self) -> int:
        """Bytes that this rank has sent its team since it was last asked."""
        sent, self._sent_bytes = self._sent_bytes, 0
        return sent

    def swap(self, sends: Mapping[int, Tensor], receives: Mapping[int, Tensor]) -> list[dist.Work]:
        """Starts to send to members of the team and to receive from them, one message each; waits for nothing.

        Args:
            sends: by member, bytes; not to be written to until they are sent.
            receives: by member, where its bytes go.
        """
        operations = [
            dist.P2POp(dist.isend, message, self.ranks[member], self.group)
            for member, message in sends.items()
        ] + [
            dist.P2POp(dist.irecv, message, self.ranks[member], self.group)
            for member, message in receives.items()
        ]
        self._sent_bytes += sum(message.numel() for message in sends.values())
        works: list[dist.Work] = dist.batch_isend_irecv(operations) if operations else []
        return works

    def wait(self, works: Sequence[dist.Work], about: str) -> None:
        """Waits for messages, on a GPU without holding the host up.

        Raises:
            RankTimeout: a rank did not send or take one in time; `about` says what it is.
        """
        if not works:
            return
        if self.mesh.device.type == "cuda":
            with self.mesh.timed():
                for work in works:
                    work.wait()
            return
        with self.mesh.timed(), self._bounded(about):
            for work in works:
                work.wait(timedelta(seconds=self.mesh.timeout_seconds))

    def announce(self, member: int, thing: Any, about: str) -> Any:
        """What one member of the team says, to all of them; waits for it. Others pass anything.

        Raises:
            RankTimeout: it did not say it in time.
        """
        said = [thing]
        with self._bounded(about):
            dist.broadcast_object_list(said, self.ranks[member], self.group, device=self._host_or_device)
        return said[0]

    def failed(self, mine: bool, about: str) -> list[int]:
        """Ranks of the team that failed; waits for all to say.

        Raises:
            RankTimeout: one did not.
        """
        flag = torch.tensor([int(mine)], device=self.mesh.device)
        flags = flag.new_empty(len(self.ranks))
        with self.mesh.timed(), self._bounded(about):
            dist.all_gather_into_tensor(flags, flag, self.group)
        return [rank for rank, said in zip(self.ranks, flags.tolist(), strict=True) if said]

    @contextmanager
    def failing_together(self, about: str) -> Iterator[None]:
        """Does what each member does for itself; where it fails on one, all learn of it at once.

        Raises:
            RankFailed: it failed on a member, this one or another.
            RankTimeout: one did not come to its end.
        """
        try:
            yield
        except Exception as error:
            with suppress(RankTimeout):
                self.failed(True, about)
            if isinstance(error, EngineError):
                raise
            raise RankFailed.here(about, error) from error
        failed = self.failed(False, about)
        if failed:
            raise RankFailed(
                f"Rank {failed[0]} failed at {about}; this rank ({self.mesh.rank}) stopped with it. The cause is in "
                f"the traceback of rank {failed[0]}."
            )

    def share(self, member: int, tensors: Sequence[Tensor], about: str) -> None:
        """Gives all members what one has, into tensors of the same form.

        Raises:
            RankTimeout: it did not come in time.
        """
        with self.mesh.timed(), self._bounded(about):
            for tensor in tensors:
                dist.broadcast(tensor, self.ranks[member], self.group)

    def agree(self, facts: Mapping[str, str]) -> None:
        """Makes sure that all members hold the same facts; waits for them.

        Raises:
            RanksDiverged: they do not; says which fact is whose.
            RankTimeout: a rank did not tell its own in time.
        """
        everyone: list[Any] = [None] * len(self.ranks)
        with self._bounded(f"comparing {' and '.join(facts)}"):
            dist.all_gather_object(everyone, dict(facts), self.group)
        for rank, theirs in zip(self.ranks, everyone, strict=True):
            for name, fact in everyone[0].items():
                if theirs.get(name) != fact:
                    raise RanksDiverged(
                        f"Rank {rank} has another {name} than rank {self.ranks[0]}: {theirs.get(name)} and {fact}. "
                        f"Every rank must run the same versions and pass the same model, size and strategy."
                    )

    @property
    def _host_or_device(self) -> torch.device:
        return self.mesh.device if self.mesh.device.type == "cuda" else torch.device("cpu")

    @contextmanager
    def _bounded(self, about: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        except RuntimeError as error:
            if not any(word in str(error).lower() for word in CUT_OFF):
                raise
            raise RankTimeout(
                f"Rank {self.mesh.rank} was cut off after {perf_counter() - began:.0f} s of {about} ({error}). A rank "
                f"died, or left the sampling loop on its own: look at the first traceback among the ranks."
            ) from error
