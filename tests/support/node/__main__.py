"""Runs a node by hand, with the images of operator and runtime, until Ctrl-C.

    PYTHONPATH=tests .venv/bin/python -m support.node

prints the variables by which a shell, or `make e2e` in another one, works with it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from support.node import HOST
from support.node.fixtures import hindrance, node_with_images


def main() -> None:
    """Starts the node and stays."""
    if reason := hindrance():
        sys.exit(f"error: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A shell without job control starts what it puts into the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="asyncdiff-images-") as folder,
        node_with_images(Path(folder)) as node,
    ):
        print(f"export KUBECONFIG={node.cluster.kubeconfig} E2E_CONTEXT=test E2E_ADDRESS={HOST}", flush=True)
        print("The node runs until Ctrl-C.", file=sys.stderr)
        signal.pause()


if __name__ == "__main__":
    main()
