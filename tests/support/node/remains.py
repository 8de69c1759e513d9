"""What a node would leave behind: control groups, and files that were in use when its folder was removed.

The kernel removes a node's processes, mounts and interfaces with its namespaces; groups and files belong to none, and
would stay. Run as `python -I -S remains.py FOLDER PID`, with the standard library alone, this waits for the end of
process PID, however it ends, and removes the folder and the branch of control groups that has the folder's name.

A branch of their own also keeps the kubelet off the machine's other pods: it ends what it finds in groups of
pods that it does not know.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SECONDS = 30.0
"""A process that was killed leaves its group, and its mounts, when the kernel has taken it apart."""


def branches(name: str) -> list[Path]:
    """Where a branch is in each hierarchy: one in version 2, one a controller in version 1."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT / name]
    return [hierarchy / name for hierarchy in ROOT.iterdir() if hierarchy.is_mount()]


def make_groups(name: str) -> None:
    """Makes an empty branch whose pods get as much of the CPUs as if they were this machine's own."""
    for branch in branches(name):
        branch.mkdir(exist_ok=True)
        for file, of_one in (("cpu.shares", 1024), ("cpu.weight", 100)):  # version 1 and 2, at their defaults
            if (branch / file).exists():
                (branch / file).write_text(str(min(10_000, of_one * (os.cpu_count() or 1))))


def groups_are_gone(name: str) -> bool:
    """Whether nothing of a branch is left; removes what is empty."""
    for branch in branches(name):
        folders = [Path(folder) for folder, _, _ in os.walk(branch, topdown=False)]
        for folder in folders:
            with contextlib.suppress(OSError):  # not empty yet, or not there any more
                folder.rmdir()
    return not any(branch.exists() for branch in branches(name))


def remove_after(folder: Path, process: int) -> None:
    """Leaves a process behind that removes what remains when another has ended, and then ends itself."""
    subprocess.run([sys.executable, "-I", "-S", __file__, folder, str(process)], check=True)


def main(folder: Path, process: int) -> None:
    """Waits for the process's end, then until everything could be removed."""
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(process)], [], [])
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if groups_are_gone(folder.name) and not folder.exists():
            return
        time.sleep(0.05)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # what stays is nobody's child, and survives whoever started it
    os.setsid()
    main(Path(sys.argv[1]), int(sys.argv[2]))
