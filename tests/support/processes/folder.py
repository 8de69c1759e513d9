"""A temporary folder, its processes, and the supervisor that ends both."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

PREFIX = "asyncdiff-test-"
LOCK = "supervisor.lock"
# A folder younger than this may belong to a run that is about to lock it.
SECONDS_BEFORE_A_FOLDER_IS_LITTER = 60
SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ProcessError(RuntimeError):
    """A program could not be started, signalled or waited for."""


class SupervisorGoneError(ProcessError):
    """Nothing runs in the folder any more."""


@dataclass(frozen=True)
class ProcessFolder:
    """A temporary folder and the processes that work in it.

    Attributes:
        path: the folder, readable by this user alone; processes have it as their working directory.
    """

    path: Path

    @classmethod
    def create(cls, kind: str, *, owner: int | None = None) -> ProcessFolder:
        """Makes the folder and starts its supervisor.

        Args:
            kind: a word for the folder's name, such as "cluster".
            owner: the id of the process with whose end everything ends; default this process.
        """
        remove_litter()
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
        (path / "logs").mkdir()
        with (path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(path), str(owner or os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        answer, _ = supervisor.communicate()
        if answer != b"ready\n":
            raise ProcessError(f"the supervisor of {path} did not start; its error is printed above")
        return cls(path)

    def start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
        """Runs a program in the folder and returns its process id.

        Args:
            name: what to call it here; its output is appended to the log of that name.
            argv: the program and its arguments.
            env: its whole environment; default PATH and HOME alone, so that runs are alike everywhere.
        """
        base = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        command = {"do": "start", "name": name, "argv": [str(word) for word in argv]}
        return int(self._ask({**command, "env": dict(base if env is None else env)})["pid"])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a process and its descendants (SIGSTOP and SIGCONT make it hang and go on)."""
        self._ask({"do": "signal", "name": name, "signal": int(number)})

    def stop(self, name: str, *, seconds: float = 30) -> int:
        """Asks a process to end with SIGTERM and returns its exit code (negative: the signal's number)."""
        self.signal(name, signal.SIGTERM)
        return self.wait(name, seconds=seconds)

    def kill(self, name: str) -> None:
        """Ends a process with SIGKILL and waits until it is gone."""
        self.signal(name, signal.SIGKILL)
        self.wait(name)

    def wait(self, name: str, *, seconds: float = 30) -> int:
        """Waits until a process has ended by itself and returns its exit code."""
        exit_code = self._ask({"do": "wait", "name": name, "seconds": seconds})["exit_code"]
        if exit_code is None:
            raise ProcessError(
                f"{name} still runs after {seconds:g} s; the end of its log:\n{self.log_tail(name)}"
            )
        return int(exit_code)

    def exit_code(self, name: str) -> int | None:
        """The exit code of a process that has ended; None while it runs."""
        exit_code = self._ask({"do": "status", "name": name})["exit_code"]
        return None if exit_code is None else int(exit_code)

    def pid(self, name: str) -> int:
        """The process id under which a name was last started."""
        return int(self._ask({"do": "status", "name": name})["pid"])

    def log(self, name: str) -> Path:
        """The file that a process's output goes to."""
        return self.path / "logs" / f"{name}.log"

    def log_tail(self, name: str, lines: int = 25) -> str:
        """The last lines that a process wrote."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Kills the processes and removes the folder; closing twice does no harm."""
        with contextlib.suppress(SupervisorGoneError):
            self._ask({"do": "close"})
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> ProcessFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        try:
            with connected(self.path) as connection, connection.makefile("rwb") as stream:
                stream.write(json.dumps(command).encode() + b"\n")
                stream.flush()
                line = stream.readline()
        except (FileNotFoundError, ConnectionError):
            line = b""
        if not line:
            raise SupervisorGoneError(
                f"the supervisor of {self.path} has ended, and with it all its processes"
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ProcessError(reply["error"])
        return reply


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """A connection to the supervisor of a folder, whatever the length of the folder's path."""
    folder = os.open(path, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"/proc/self/fd/{folder}/control")
            yield connection
    finally:
        os.close(folder)


def remove_litter() -> None:
    """Removes folders whose supervisor is gone: the machine lost power, or somebody killed that too."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Another run may be removing the same folder, and other users' folders are theirs.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if time.time() - path.stat().st_mtime > SECONDS_BEFORE_A_FOLDER_IS_LITTER and not is_locked(path):
                shutil.rmtree(path)


def is_locked(path: Path) -> bool:
    """Whether a supervisor is alive for the folder."""
    with (path / LOCK).open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
