"""One replica of the operator, whose process can be killed, hung and started again."""

from __future__ import annotations

import json
import signal
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import free_port, wait_until

if TYPE_CHECKING:
    from support.cluster import Cluster
    from support.operator.gateway import Gateway
    from support.operator.nursery import Nursery, OperatorProcess

IMAGE = "localhost/asyncdiff-runtime@sha256:" + 64 * "a"


class Operator:
    """One replica; kubeconfig, identity and port stay when it is started again."""

    def __init__(self, nursery: Nursery, kubeconfig: Path, identity: str, **options: str) -> None:
        """Nothing runs before `start`; options are flags, with `_` for `-`."""
        self.identity = identity
        self.port = free_port()
        self._nursery = nursery
        defaults = {
            "image": IMAGE,
            "kubeconfig": str(kubeconfig),
            "identity": identity,
            "address": "127.0.0.1",
            "port": str(self.port),
            "lease_seconds": "15",
            "progress_seconds": "0.2",
            "status_seconds": "0.5",
        }
        self.options = {**defaults, **options}
        self.process: OperatorProcess

    def start(self, *, ready: bool = True) -> None:
        """Starts a process; waits until its cache is filled, unless told otherwise."""
        self.process = self._nursery.start(self.identity, self.options)
        if ready:
            wait_until(self.is_ready, what=f"{self.identity} to be ready")

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    def hang(self) -> None:
        """SIGSTOP."""
        self.process.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.signal(signal.SIGCONT)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200.

        Raises:
            RuntimeError: The process has ended.
        """
        if self.process.has_ended():
            raise RuntimeError(f"the operator ended with code {self.process.wait()}; its log:\n{self.log()}")
        try:
            return bool(self.page("/readyz"))
        except OSError:  # nothing listens yet, or every core is busy and the page is late
            return False

    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.is_ready() and self.metric("asyncdiff_operator_leader") == 1

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
        return "\n".join(self.process.log.read_text().splitlines()[-40:])

    def records(self) -> list[dict[str, Any]]:
        """Its whole log, line by line, of all its processes."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]


@contextmanager
def operator_on(
    nursery: Nursery,
    cluster: Cluster,
    namespace: str,
    *,
    identity: str = "",
    gateway: Gateway | None = None,
    kubeconfig: Path | None = None,
    **options: str,
) -> Iterator[Operator]:
    """An operator that serves one namespace, with its Lease there; it is ready, and ends with the context."""
    identity = identity or f"operator-{uuid.uuid4().hex[:6]}"
    if kubeconfig is None:
        administrators = ["system:masters"]
        kubeconfig = gateway.kubeconfig if gateway else cluster.kubeconfig_for_user(identity, administrators)
    operator = Operator(
        nursery, kubeconfig, identity, **{"namespaces": namespace, "lease_namespace": namespace, **options}
    )
    operator.start()
    try:
        yield operator
    finally:
        operator.go_on()
        operator.kill()
