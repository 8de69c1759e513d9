"""Runs the processes of one folder, and ends them and the folder when their owner ends.

Run as a script, `python -I -S supervisor.py FOLDER OWNER_PID`, with the standard library alone.
It is a process of its own because a test run that is killed with SIGKILL cannot clean up after itself:

- the supervisor holds a pidfd of its owner, which becomes readable however the owner ended;
- each child asks the kernel for SIGKILL when the supervisor ends, so killing both leaves no process;
- the lock on the folder, which the supervisor inherits open, is free once it is gone, which tells a
  later run that the folder is litter.

It answers commands on the unix socket FOLDER/control: one JSON object a line, one answer a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class RefusedError(Exception):
    """A command that cannot be carried out; the text goes back to whoever sent it."""


class Child:
    """A process that leads its own process group, and what became of it."""

    def __init__(self, folder: Path, name: str, argv: list[str], env: dict[str, str]) -> None:
        with (folder / "logs" / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 -- this process has one thread
            )
        self.ended = asyncio.Event()
        self._pidfd = os.pidfd_open(self.process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self.process.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.ended.set()

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group; the id cannot be another's, for only `_reap` frees it."""
        os.killpg(self.process.pid, number)


class Supervisor:
    """The processes of one folder, by name; a name can be started again once its process has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: dict[str, Child] = {}
        self.dismissed = asyncio.Event()

    async def answer(self, command: dict[str, object]) -> dict[str, object]:
        """Carries out one command and says how it went."""
        match command:
            case {"do": "start", "name": str(name), "argv": list(argv), "env": dict(env)}:
                child = self.start(name, argv, env)
                return {"pid": child.process.pid}
            case {"do": "signal", "name": str(name), "signal": int(number)}:
                self.living(name).signal(number)
                return {}
            case {"do": "status", "name": str(name)}:
                process = self.child(name).process
                return {"pid": process.pid, "exit_code": process.returncode}
            case {"do": "wait", "name": str(name), "seconds": int() | float() as seconds}:
                child = self.child(name)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.ended.wait(), seconds)
                return {"exit_code": child.process.returncode}
            case {"do": "close"}:
                await self.end_all()
                return {}
        raise RefusedError(f"the supervisor does not know the command {command}")

    def child(self, name: str) -> Child:
        """The latest process of that name."""
        if name not in self.children:
            raise RefusedError(f"no process named {name!r} was started; there are {sorted(self.children)}")
        return self.children[name]

    def living(self, name: str) -> Child:
        """The process of that name, which must not have ended."""
        child = self.child(name)
        if child.ended.is_set():
            raise RefusedError(f"{name!r} has already ended with exit code {child.process.returncode}")
        return child

    def start(self, name: str, argv: list[str], env: dict[str, str]) -> Child:
        """Runs a program in the folder, its output appended to logs/NAME.log."""
        before = self.children.get(name)
        if before is not None and not before.ended.is_set():
            raise RefusedError(f"{name!r} already runs as process {before.process.pid}: stop it first")
        self.children[name] = Child(self.folder, name, argv, env)
        return self.children[name]

    async def end_all(self) -> None:
        """Kills without grace: whatever the processes would save is deleted in the next line."""
        living = [child for child in self.children.values() if not child.ended.is_set()]
        for child in living:
            child.signal(signal.SIGKILL)
        await asyncio.gather(*(child.ended.wait() for child in living))
        shutil.rmtree(self.folder, ignore_errors=True)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the commands of one connection until it is closed."""
        async for line in reader:
            try:
                command = json.loads(line)
                reply = await self.answer(command)
            except (RefusedError, OSError, ValueError, subprocess.SubprocessError) as error:
                reply = {"error": str(error)}
            with contextlib.suppress(ConnectionError):
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
            if not self.folder.exists():
                self.dismissed.set()
        writer.close()


def dying_with(supervisor: int) -> Callable[[], None]:
    """What a child runs before exec: it asks to be killed when the supervisor ends."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it ended before the request, so no signal will come
            os._exit(1)

    return prepare


async def main(folder: Path, owner: int) -> None:
    """Serves until told to close, terminated, or left by the owner."""
    supervisor = Supervisor(folder)
    loop = asyncio.get_running_loop()
    loop.add_reader(os.pidfd_open(owner), supervisor.dismissed.set)
    loop.add_signal_handler(signal.SIGTERM, supervisor.dismissed.set)
    os.chdir(folder)  # a unix socket's address holds 107 bytes, so it is named from within
    await asyncio.start_unix_server(supervisor.converse, "control", limit=2**20)
    print("ready", flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever reads the answer waits for its end
    await supervisor.dismissed.wait()
    await supervisor.end_all()
    os._exit(0)  # conversations under way have nothing to say any more


if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # a grandchild is nobody's to wait for: whoever holds the folder may close it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the owner, whose end is noticed
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
