"""Forks operators from a process that has imported everything: one starts in a moment, and is killed for real.

`serve` reads lines of JSON from standard input, `{"argv": [...], "log": "PATH"}`, forks an operator
for each, and answers with its process id. When an operator has ended, its exit code is in PATH.code. All of
them end when standard input does, however the test run ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from support.processes import wait_until
from support.repository import ROOT

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PACKAGES = ":".join(str(ROOT / folder) for folder in ("api", "operator", "tests"))


class Nursery:
    """The process from which operators are forked, and a folder for their logs."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="asyncdiff-operators-")
        self.path = Path(self._folder.name)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from support.operator.nursery import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": PACKAGES, "PATH": os.environ["PATH"], "HOME": self._folder.name},
            text=True,
        )

    def start(self, name: str, options: Mapping[str, str]) -> OperatorProcess:
        """Starts an operator; its output is appended to the log of that name."""
        flags = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
        log = self.path / f"{name}.log"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": flags, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return OperatorProcess(int(self._process.stdout.readline()), log)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            pass
        self._folder.cleanup()


class OperatorProcess:
    """One life of an operator."""

    def __init__(self, pid: int, log: Path) -> None:
        self.log = log
        self._code = log.with_suffix(f".{pid}.code")
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; one that has ended meanwhile gets none."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    def wait(self, seconds: float = 30) -> int:
        """Waits for its end and gives its exit code, negative for a signal's number."""
        if not select.select([self._pidfd], [], [], seconds)[0]:
            raise TimeoutError(f"the operator still runs after {seconds:g} s; its log is {self.log}")
        return int(wait_until(self._exit_code, what=f"{self._code} to be written"))

    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.wait() if self.has_ended() else None

    def _exit_code(self) -> str:
        return self._code.read_text() if self._code.exists() else ""


def serve() -> None:
    """Forks an operator for each line, until there are no more."""
    from asyncdiff_operator.__main__ import main

    dying = ctypes.CDLL(None).prctl
    for line in sys.stdin:
        command = json.loads(line)
        reader, writer = os.pipe()
        if os.fork() == 0:
            dying(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(reader)
            _attend(command["argv"], Path(command["log"]), writer, main, dying)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            print(pipe.read(), flush=True)
        _reap()


def _attend(argv: list[str], log: Path, writer: int, main: object, dying: object) -> None:
    """Runs an operator in a process of its own, and leaves its exit code."""
    assert callable(main)
    assert callable(dying)
    pid = os.fork()
    if pid == 0:
        dying(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(writer)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv[1:] = argv
        code = 1
        try:
            code = main()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.write(writer, str(pid).encode())
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    log.with_suffix(f".{pid}.code").write_text(str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
