"""Process groups that stay up between tests: importing torch and diffusers costs more than most tests do.

    def claim(rank: int, world: int) -> float: ...      # a module-level function

    assert ranks(2).run(claim) == [0.0, 0.0]

Each rank is a process of its own with one thread, joined by gloo over the loopback interface.
"""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Raised:
    """An exception on a rank: its type's name and its message."""

    kind: str
    message: str
    trace: str


class RankError(AssertionError):
    """A rank raised, which the test did not expect."""


class Ranks:
    """A gloo group of `world` processes."""

    def __init__(self, world: int) -> None:
        self.world = world
        context = multiprocessing.get_context("spawn")
        port = _free_port()
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(world):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rank, world, port), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def outcomes(self, claim: Callable[..., Any], *args: Any, timeout_seconds: float = 300.0) -> list[Any]:
        """Runs `claim(rank, world, *args)` on every rank; gives what each returned, or its `Raised`."""
        for pipe in self._pipes:
            pipe.send((claim, args))
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if not pipe.poll(timeout_seconds):
                self.stop()
                raise RankError(f"rank {rank} of {self.world} gave no answer within {timeout_seconds:.0f} s")
            answers.append(pipe.recv())
        return answers

    def run(self, claim: Callable[..., Any], *args: Any, timeout_seconds: float = 300.0) -> list[Any]:
        """As `outcomes`, where no rank may raise."""
        answers = self.outcomes(claim, *args, timeout_seconds=timeout_seconds)
        for rank, answer in enumerate(answers):
            if isinstance(answer, Raised):
                raise RankError(
                    f"rank {rank} of {self.world} raised {answer.kind}: {answer.message}\n{answer.trace}"
                )
        return answers

    @property
    def alive(self) -> bool:
        """Every process is still there."""
        return all(process.is_alive() for process in self._processes)

    def stop(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
            process.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(pipe: Connection, rank: int, world: int, port: int) -> None:
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", GLOO_SOCKET_IFNAME="lo")
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    while True:
        try:
            claim, args = pipe.recv()
        except EOFError:
            return
        try:
            answer = claim(rank, world, *args)
        except Exception as error:  # noqa: BLE001 -- it is told to the test
            answer = Raised(type(error).__name__, str(error), traceback.format_exc())
        pipe.send(answer)
