"""A node leaves nothing behind, however its tests end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.node import remains, sandbox
from support.processes import wait_until
from support.repository import ROOT

LINK = "asyncdiff1"
# What stands for a pod: a process in a control group, with a mount and an address of its own.
PROGRAM = f"""
import sys
from support.node.remains import branches
from support.node.sandbox import Sandbox

made = Sandbox.create("10.213.0.5", "10.213.0.6", link="{LINK}")
group = next(branch for branch in branches(made.cgroup) if branch.parent.name != "cpuset") / "pod"
made.run("mkdir", group)
work = f"echo 0 > {{group}}/cgroup.procs && mount -t tmpfs none /mnt && touch /mnt/ready && exec sleep 600"
made.start("pod", ["sh", "-c", work])
made.run("sh", "-c", "until test -e /mnt/ready; do sleep 0.02; done")
print(made.init, made.processes.path, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root, for namespaces and containers")
def test_tests_that_are_killed_leave_no_process_no_link_no_mount_and_no_control_group() -> None:
    if reason := sandbox.hindrance():
        pytest.skip(reason)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    tests = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tests.stdout is not None
    init, folder = tests.stdout.readline().split()
    name = Path(folder).name
    there = [Path("/sys/class/net", LINK), Path("/proc", init), Path(folder), *remains.branches(name)]
    assert all(path.exists() for path in there)

    tests.send_signal(signal.SIGKILL)
    tests.communicate()

    wait_until(lambda: not any(path.exists() for path in there), what=f"the end of {there}")
    assert folder not in Path("/proc/mounts").read_text()
