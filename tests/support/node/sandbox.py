"""Namespaces in which a whole node lives, and with which every trace of it goes.

A node leaves much behind when it is killed: mounts, network interfaces, firewall rules, containers whose parents
are gone. Inside of namespaces of their own (mounts, network, processes) none of it is left, however the tests
ended: the kernel removes all of it with the namespaces' first process. Control groups alone belong to no
namespace; `support.node.remains` removes theirs.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.node import remains
from support.processes import ProcessFolder, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

INIT = Path(__file__).with_name("init.py")
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")
FIRST = "sandbox"
LINK = "asyncdiff0"
"""The node's link on the machine: one at a time, so that its addresses are known beforehand."""


@dataclass(frozen=True)
class Sandbox:
    """Namespaces and the processes in them.

    Attributes:
        processes: its folder and processes, the first one named "sandbox".
        init: the id of the namespaces' first process.
        host: this machine's address as seen from inside.
        address: the sandbox's address as seen from this machine.
        link: name of the link between the two, on this machine.
    """

    processes: ProcessFolder
    init: int
    host: str
    address: str
    link: str = LINK

    @classmethod
    def create(cls, host: str, address: str, *, link: str = LINK, owner: int | None = None) -> Sandbox:
        """Makes the namespaces, joined to this machine by a link; needs root.

        Args:
            host: this machine's end of the link, an IPv4 address.
            address: the other end, of the same /30.
            link: its name on this machine.
            owner: the id of the process with whose end the sandbox ends; default this process.
        """
        processes = ProcessFolder.create("node", owner=owner)
        try:
            command = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
            parent = processes.start(FIRST, [*command, sys.executable, "-I", "-S", INIT, processes.path])

            def ready() -> bool:
                assert processes.exit_code(FIRST) is None, processes.log_tail(FIRST)
                return (processes.path / "ready").exists()

            wait_until(ready, what="the sandbox's mounts")
            init = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())
            sandbox = cls(processes, init, host, address, link)
            remains.remove_after(processes.path, init)
            remains.make_groups(sandbox.cgroup)
            sandbox._join()
        except BaseException:
            processes.close()
            raise
        return sandbox

    @property
    def cgroup(self) -> str:
        """Name of the branch of control groups that all pods are in."""
        return self.processes.path.name

    def start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Runs a program inside, under the folder's supervisor."""
        self.processes.start(name, [*self._enter(), *argv], env)

    def run(self, *argv: str | Path, stdin: str = "") -> str:
        """Runs a program inside to its end and gives what it printed.

        Raises:
            subprocess.CalledProcessError: it failed; `stderr` says why.
        """
        words = [str(word) for word in (*self._enter(), *argv)]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, check=True).stdout

    def route(self, network: str) -> None:
        """Sends what this machine has for a network (such as 10.89.0.0/16) into the sandbox."""
        ip("route", "replace", network, "via", self.address, "dev", self.link)

    def close(self) -> None:
        """Ends everything inside and removes the folder."""
        self.processes.close()
        wait_until(lambda: remains.groups_are_gone(self.cgroup), what=f"the end of group {self.cgroup}")

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _join(self) -> None:
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.init))
        ip("address", "add", f"{self.host}/30", "dev", self.link)
        ip("link", "set", self.link, "up")
        for command in (
            "link set lo up",
            f"address add {self.address}/30 dev eth0",
            "link set eth0 up",
            f"route add default via {self.host}",
        ):
            self.run("ip", *command.split())
        for setting in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
            self.run("sh", "-c", f"test ! -e /proc/sys/net/{setting} || echo 1 > /proc/sys/net/{setting}")

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.init}", *NAMESPACES, "--"]


def hindrance() -> str:
    """Why no sandbox can be had here; empty where one can."""
    trial = "mount -t tmpfs none /mnt && ip link add trial type bridge && test -w /sys/fs/cgroup"
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "--mount-proc", "sh", "-c", trial], capture_output=True, text=True
    )
    if tried.returncode:
        return f"a node needs namespaces, mounts and cgroups of its own, and has none here: {tried.stderr.strip()}"
    return ""


def ip(*words: str) -> None:
    """Runs ip(8) on this machine."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
