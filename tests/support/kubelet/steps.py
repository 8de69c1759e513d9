"""What becomes of a pod, as data: a script is a few steps, and what the container does when it is asked to go."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field

from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.formats.result import Result

from support.kubelet.machine import Machine

SIGKILLED = 137


class Gate:
    """Holds scripts up until the test opens it: what happens next is then the test's choice, not the clock's."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        """Lets everyone through, from now on."""
        if not self._opened.done():
            self._opened.set_result(None)

    async def passed(self) -> None:
        """Returns once the gate is open."""
        await asyncio.shield(asyncio.wrap_future(self._opened))


@dataclass(frozen=True, slots=True)
class Wait:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing happens until the test opens the gate."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class CannotPull:
    """The image cannot be had: ErrImagePull, then ImagePullBackOff, with the events of a kubelet."""

    message: str = "failed to pull and unpack image: not found"


@dataclass(frozen=True, slots=True)
class CannotMount:
    """A volume cannot be mounted: the container stays ContainerCreating, and an event says why."""

    message: str = 'MountVolume.SetUp failed for volume "credentials" : secret "renders-s3" not found'


@dataclass(frozen=True, slots=True)
class Start:
    """The container starts."""


@dataclass(frozen=True, slots=True)
class Say:
    """The container writes its termination message, which counts when it ends, however it ends."""

    message: Result | bytes


@dataclass(frozen=True, slots=True)
class Report:
    """`/progress` answers with this from now on, at the pod's own address."""

    content: Progress | bytes
    status: int = 200
    location: str = ""
    """Where a redirect leads."""
    held_by: Gate | None = None
    """Until it opens, requests are taken and not answered."""


@dataclass(frozen=True, slots=True)
class Print:
    """The container writes a line to its log."""

    line: str


@dataclass(frozen=True, slots=True)
class Run:
    """The container's own command runs as a process of this machine; its exit code ends the script."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Terminate:
    """The process of `Run` gets SIGTERM; its exit code ends the script."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The container ends."""

    code: int = ExitCode.DONE
    reason: str = ""
    """As the kubelet words it; default Completed or Error."""


OUT_OF_MEMORY = Exit(SIGKILLED, "OOMKilled")

Step = Wait | Await | CannotPull | CannotMount | Start | Say | Report | Print | Run | Terminate | Exit


@dataclass(frozen=True, slots=True)
class Script:
    """Steps in order. A script that does not come to an `Exit` leaves the pod as it is until it is deleted."""

    steps: tuple[Step, ...] = (Start(), Exit())
    on_termination: tuple[Step, ...] = field(default=(Exit(ExitCode.DRAINED),))
    """What the container does at SIGTERM; one that comes to no `Exit` within the grace period is killed."""
    grace_seconds: float | None = None
    """Between SIGTERM and SIGKILL. None waits as long as the pod asks for."""
