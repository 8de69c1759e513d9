"""Builds the programs that tests need, or runs a cluster by hand."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from support.cluster.cluster import Cluster
from support.tools import KUBE, VERSITYGW, BuildFailedError, GoUnavailableError, find_programs

if TYPE_CHECKING:
    from collections.abc import Callable


def build() -> None:
    """Builds what is not here yet and says where everything is."""
    for module in (KUBE, VERSITYGW):
        for name, path in find_programs(module).items():
            print(f"{name:24} {path}")


def up(start: Callable[[], Cluster]) -> None:
    """Runs a cluster until interrupted; its address goes to standard output, the rest to standard error."""
    with start() as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        print(f"The API server listens on {cluster.server} until Ctrl-C.", file=sys.stderr)
        signal.pause()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m support.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build kube and versitygw into the cache, unless they are here")
    run = commands.add_parser("up", help="run a control plane until Ctrl-C and print its kubeconfig")
    run.add_argument("--controllers", action="store_true", help="with the controllers and the scheduler")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A shell without job control starts what it puts into the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            if arguments.command == "build":
                build()
            else:
                up(Cluster.start_control_plane if arguments.controllers else Cluster.start)
    except (BuildFailedError, GoUnavailableError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
