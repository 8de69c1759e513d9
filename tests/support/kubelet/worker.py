"""One pod from its binding to its removal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from asyncdiff_api.formats.result import Result

from support.kubelet.client import Client
from support.kubelet.machine import Container, Machine
from support.kubelet.pages import Pages
from support.kubelet.states import (
    Place,
    Running,
    State,
    Terminated,
    Waiting,
    never_started,
    pod_status,
)
from support.kubelet.steps import (
    SIGKILLED,
    Await,
    CannotMount,
    CannotPull,
    Exit,
    Print,
    Report,
    Run,
    Say,
    Script,
    Start,
    Step,
    Terminate,
    Wait,
)

Manifest = Mapping[str, Any]


class PodWorker:
    """Performs a script as the kubelet and the container of one pod."""

    def __init__(self, pod: Manifest, script: Script, place: Place, client: Client, pages: Pages) -> None:
        """Takes a pod that was bound to the node; nothing happens before `live`."""
        self.pod = pod
        self.report: Report | None = None
        self.port: int | None = None
        self.ended = False
        self._script = script
        self._place = place
        self._client = client
        self._pages = pages
        self._since = datetime.now(UTC)
        self._state: State = Waiting()
        self._message = b""
        self._printed = ""
        self._process: Container | None = None
        self._deleted = asyncio.Event()
        self._killed: asyncio.Future[Exit | None] = asyncio.get_running_loop().create_future()

    @property
    def log(self) -> str:
        """What the container wrote."""
        return self._printed if self._process is None else self._process.log()

    @property
    def path(self) -> str:
        """The pod's address at the API server."""
        metadata = self.pod["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"

    def delete(self) -> None:
        """The pod was asked to go."""
        self._deleted.set()

    def kill(self, end: Exit) -> None:
        """The container is ended from outside, without a chance to say anything."""
        if not self._killed.done():
            self._killed.set_result(end)

    async def live(self) -> None:
        """Performs the script, and the removal once the pod is deleted."""
        try:
            await self._write()
            end = await self._first(self._perform(self._script.steps), self._deletion())
            if end is None:
                end = await self._terminate()
            await self._end(end)
            await self._deleted.wait()
            await self._remove()
        finally:
            if self._process is not None:
                self._process.leave()
            await self._pages.shut(self._place.address)

    async def _terminate(self) -> Exit | None:
        """Gives the container its time to go; None if it had not started."""
        if isinstance(self._state, Waiting):
            return None
        grace = self._script.grace_seconds
        if grace is None:
            grace = float(self.pod["spec"]["terminationGracePeriodSeconds"])
        try:
            return await asyncio.wait_for(self._first(self._perform(self._script.on_termination)), grace)
        except TimeoutError:
            return Exit(SIGKILLED)

    async def _first(self, *ways: Coroutine[Any, Any, Exit | None]) -> Exit | None:
        """Gives what the first of several ways to end says; being killed is always one."""
        tasks = [asyncio.create_task(way) for way in ways]
        futures: list[asyncio.Future[Exit | None]] = [*tasks, self._killed]
        try:
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            return next(future.result() for future in reversed(futures) if future in done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _deletion(self) -> None:
        await self._deleted.wait()

    async def _perform(self, steps: tuple[Step, ...]) -> Exit:
        """Performs steps up to an exit, or for ever."""
        for step in steps:
            if (end := await self._step(step)) is not None:
                return end
        await asyncio.Event().wait()
        raise AssertionError

    async def _step(self, step: Step) -> Exit | None:
        match step:
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Await(gate):
                await gate.passed()
            case CannotPull(message):
                await self._cannot_pull(message)
            case CannotMount(message):
                await self._event("FailedMount", message)
            case Start():
                self._state = Running(since=datetime.now(UTC))
                await self._write()
            case Say(message):
                self._message = message.encode() if isinstance(message, Result) else message
            case Report():
                self.report = step
                await self._pages.open(self._place.address, self)
            case Print(line):
                self._printed += f"{line}\n"
            case Run(machine):
                return await self._run(machine)
            case Terminate():
                assert self._process is not None
                self._process.terminate()
                return Exit(await self._process.end())
            case Exit():
                return step
        return None

    async def _run(self, machine: Machine) -> Exit:
        """Runs the container's own command, and serves its pages at the pod's address."""
        self._process = Container(machine, self.pod)
        await self._process.mount(self._client)
        await asyncio.to_thread(self._process.start)
        await self._pages.open(self._place.address, self)
        serving = asyncio.create_task(self._find_port(self._process))
        try:
            return Exit(await self._process.end())
        finally:
            serving.cancel()

    async def _find_port(self, process: Container) -> None:
        self.port = await process.port()

    async def _cannot_pull(self, message: str) -> None:
        image = self.pod["spec"]["containers"][0]["image"]
        await self._event("Failed", f'Failed to pull image "{image}": {message}')
        for reason in ("ErrImagePull", "ImagePullBackOff"):
            pulling = f'Back-off pulling image "{image}": ErrImagePull: {message}'
            self._state = Waiting(reason=reason, message=pulling)
            await self._write()

    async def _end(self, end: Exit | None) -> None:
        now = datetime.now(UTC)
        if self._process is not None:
            self._message = await asyncio.to_thread(self._process.leave)
        self.ended = True
        await self._pages.shut(self._place.address)
        if end is None or not isinstance(self._state, Running):
            self._state = never_started(now)
        else:
            self._state = Terminated(
                code=end.code,
                reason=end.reason or ("Completed" if end.code == 0 else "Error"),
                message=self._message[:4096].decode(errors="replace"),
                since=self._state.since,
                until=now,
            )
        await self._write()

    async def _write(self) -> None:
        status = pod_status(self.pod, self._place, self._state, self._since)
        await self._client.patch_status(self.path, self.pod["metadata"]["uid"], status)

    async def _remove(self) -> None:
        """The last thing a kubelet does for a pod that was deleted."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod["metadata"]["uid"]}}
        await self._client.send("DELETE", self.path, options)

    async def _event(self, reason: str, message: str) -> None:
        """Writes an event about the pod, with the kubelet as its source."""
        metadata, now = self.pod["metadata"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": "v1", "kind": "Pod"}
        about |= {key: metadata[key] for key in ("name", "namespace", "uid")}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self.pod["spec"]["nodeName"]},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.send("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", event)
