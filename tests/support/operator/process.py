"""The operator as a process."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import ProcessFolder, free_port, wait_until
from support.repository import ROOT

if TYPE_CHECKING:
    from support.cluster import Cluster
    from support.operator.gateway import Gateway

IMAGE = "localhost/asyncdiff-runtime@sha256:" + 64 * "a"
PACKAGES = ":".join(str(ROOT / folder) for folder in ("api", "operator"))


class Operator:
    """One replica of the operator; kubeconfig, identity and port stay when it is started again."""

    def __init__(self, folder: ProcessFolder, kubeconfig: Path, identity: str, **options: str) -> None:
        """Nothing runs before `start`; options are flags, with `_` for `-`."""
        self.folder = folder
        self.identity = identity
        self.port = free_port()
        defaults = {
            "image": IMAGE,
            "kubeconfig": str(kubeconfig),
            "identity": identity,
            "address": "127.0.0.1",
            "port": str(self.port),
            "lease_seconds": "3",
            "progress_seconds": "0.2",
            "status_seconds": "0.5",
        }
        self.options = {**defaults, **options}

    def start(self, *, ready: bool = True) -> None:
        """Starts the process; waits until its cache is filled, unless told otherwise."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        env = {"PYTHONPATH": PACKAGES, "PATH": "/usr/bin:/bin", "HOME": str(self.folder.path)}
        self.folder.start(self.identity, [sys.executable, "-m", "asyncdiff_operator", *flags], env)
        if ready:
            wait_until(self.is_ready, what=f"{self.identity} to be ready; its log:\n{self.log()}")

    def kill(self) -> None:
        """SIGKILL."""
        self.folder.kill(self.identity)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        return self.folder.stop(self.identity)

    def hang(self) -> None:
        """SIGSTOP."""
        self.folder.signal(self.identity, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.folder.signal(self.identity, signal.SIGCONT)

    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.folder.exit_code(self.identity)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200.

        Raises:
            RuntimeError: The process has ended.
        """
        if (code := self.exit_code()) is not None:
            raise RuntimeError(f"the operator ended with code {code}; its log:\n{self.log()}")
        try:
            return bool(self.page("/readyz"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def page(self, path: str) -> str:
        """One of its pages."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, line: str) -> float:
        """The value of a metric, named with its labels as the page has it; 0 if it is not there."""
        for found in self.page("/metrics").splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def log(self) -> str:
        """The end of its log."""
        return self.folder.log_tail(self.identity, 40)

    def records(self) -> list[dict[str, Any]]:
        """Its whole log, line by line."""
        return [json.loads(line) for line in self.folder.log(self.identity).read_text().splitlines()]


@contextmanager
def operator_on(
    cluster: Cluster,
    namespace: str,
    *,
    identity: str = "",
    gateway: Gateway | None = None,
    start: bool = True,
    **options: str,
) -> Iterator[Operator]:
    """An operator that serves one namespace, with its Lease there; it is ready, and ends with the context."""
    identity = identity or f"operator-{uuid.uuid4().hex[:6]}"
    kubeconfig = gateway.kubeconfig if gateway else cluster.kubeconfig_for_user(identity, ["system:masters"])
    scope = {"namespaces": namespace, "lease_namespace": namespace, **options}
    with ProcessFolder.create("operator") as folder:
        operator = Operator(folder, kubeconfig, identity, **scope)
        if start:
            operator.start()
        yield operator
