"""A pod's commands as processes, with a folder in place of the file system's root; there is no container."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncdiff_api.formats import container
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.formats.result import Result

from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TRACE = "0123456789abcdef0123456789abcdef"
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    container.TRACE_VARIABLE: TRACE,
    container.POD_VARIABLE: "posters-0-abcde",
}


@dataclass
class Pod:
    """One pod after the other of one job.

    Attributes:
        root: what the pods take for the root of their file system.
        processes: where they run.
        variables: environment of the pods beside what the contract says.
    """

    root: Path
    processes: ProcessFolder
    variables: Mapping[str, str] = field(default_factory=dict)
    started: int = 0

    @classmethod
    def of_job(
        cls,
        root: Path,
        processes: ProcessFolder,
        document: Mapping[str, Any],
        volumes: Mapping[str, Path],
        **variables: str,
    ) -> Pod:
        """Mounts a job and its volumes.

        Args:
            root: an empty folder.
            processes: where the pods run.
            document: the job as the operator writes it: shards are set.
            volumes: folder of each volume, by the name of its claim.
            variables: environment of the pods.
        """
        for folder in (container.JOB_FOLDER, container.VOLUMES, container.CACHE, container.TEMPORARY):
            at(root, folder).mkdir(parents=True)
        (at(root, container.JOB_FOLDER) / container.JOB_FILE).write_text(json.dumps(document))
        for claim, place in volumes.items():
            (at(root, container.VOLUMES) / claim).symlink_to(place)
        at(root, container.TERMINATION_LOG).parent.mkdir()
        return cls(root, processes, variables)

    def mount_keys(self, keys: Mapping[str, str]) -> None:
        """Mounts a Secret with keys of S3."""
        folder = at(self.root, container.S3_FOLDER)
        folder.mkdir(parents=True)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            (folder / name).write_text(keys[name])

    def start(self, command: str = "shard", shard: int | None = 0) -> str:
        """Starts a new container, as whose child ranks will run; gives its name in `processes`."""
        at(self.root, container.TERMINATION_LOG).write_bytes(b"")
        self.started += 1
        name = f"pod-{self.started}"
        index = {} if shard is None else {container.SHARD_VARIABLE: str(shard)}
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            **VARIABLES,
            **index,
            **self.variables,
            "ASYNCDIFF_ROOT": str(self.root),
        }
        argv = [sys.executable, "-m", "asyncdiff_runtime.batch.pod", command]
        self.processes.start(name, [*argv, *(["--port", "0"] if command == "shard" else [])], variables)
        return name

    def run(self, command: str = "shard", shard: int | None = 0, **variables: str) -> tuple[int, Result]:
        """Runs a container to its end; gives exit code and result."""
        before, self.variables = self.variables, {**self.variables, **variables}
        name = self.start(command, shard)
        self.variables = before
        return self.end(name)

    def end(self, name: str) -> tuple[int, Result]:
        """Waits for a container's end; gives exit code and result."""
        code = self.processes.wait(name, seconds=300)
        result = self.result
        assert result is not None, self.processes.log_tail(name)
        return code, result

    @property
    def result(self) -> Result | None:
        """What the termination message says now; None while it is empty."""
        data = at(self.root, container.TERMINATION_LOG).read_bytes()
        return Result.parse(data, "termination message") if data else None

    def terminate(self, name: str) -> None:
        """Tells a container to go as the kubelet does: its first process alone hears it."""
        os.kill(self.processes.pid(name), signal.SIGTERM)

    def signal_rank(self, name: str, rank: int, number: signal.Signals) -> None:
        """Sends a signal to one rank."""
        os.kill(self.ranks(name)[rank], number)

    @contextmanager
    def standing_still(self, name: str) -> Iterator[None]:
        """Stops a container's ranks for a while, so that it cannot end before it was looked at."""
        ranks = self.ranks(name)
        for process in ranks.values():
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in ranks.values():
                os.kill(process, signal.SIGCONT)

    def ranks(self, name: str) -> dict[int, int]:
        """The process of each rank of a container."""
        parent = self.processes.pid(name)
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        found = {}
        for child in children:
            variables = (Path("/proc") / child / "environ").read_bytes().split(b"\0")
            numbers = [value.partition(b"=")[2] for value in variables if value.startswith(b"RANK=")]
            if numbers:
                found[int(numbers[0])] = int(child)
        return found

    def logged(self, name: str) -> list[dict[str, Any]]:
        """The lines of a container's log, which are JSON one and all."""
        lines = self.processes.log(name).read_text().splitlines()
        strange = [line for line in lines if not line.startswith("{")]
        assert not strange, strange
        return [json.loads(line) for line in lines]

    def port(self, name: str) -> int:
        """The port that a container serves on."""

        def found() -> int | None:
            assert self.processes.exit_code(name) is None, self.processes.log_tail(name)
            text = self.processes.log(name).read_text()
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            return next((line["port"] for line in lines if "port" in line), None)

        return wait_until(found, what="the pod's port")

    def get(self, name: str, path: str) -> bytes:
        """The body of one of a container's pages."""
        status, body = ask(self.port(name), path)
        assert status in (200, 503), body
        return body

    def wait_for_progress(self, name: str, state: Callable[[Progress], bool], what: str) -> Progress:
        """Polls a container's report until it is as wanted."""

        def look() -> Progress | None:
            progress = Progress.receive(self.get(name, container.PROGRESS_PATH), "progress")
            return progress if state(progress) else None

        return wait_until(look, what=what, seconds=200, pause=0.1)


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Status and body of what a pod answers."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def at(root: Path, path: object) -> Path:
    """A path of the contract under another root."""
    return root / str(path).lstrip("/")
