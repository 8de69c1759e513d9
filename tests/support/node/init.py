"""The first process of a sandbox: prepares its mounts, then only reaps what others leave behind.

Run as `python -I -S init.py FOLDER` in fresh namespaces, with the standard library alone. Whatever is in the
sandbox ends with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PRIVATE = ("/run", "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/etc/cni")
"""Folders whose paths programs do not let one choose: here they are the sandbox's own, and go with it."""


def main(folder: Path) -> None:
    """Prepares the sandbox and stays."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for path in PRIVATE:
        private = folder / "private" / path.lstrip("/")
        private.mkdir(parents=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(private), path], check=True)
    # What the kubelet mounts is to be seen in containers, whose mount namespaces are below this one.
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    (folder / "ready").touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        signal.sigwait([signal.SIGCHLD])
        reap()


def reap() -> None:
    """Takes note of every child that has ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
