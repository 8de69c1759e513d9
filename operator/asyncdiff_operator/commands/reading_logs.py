"""The logs of several pods as one text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

import typer
from asyncdiff_api.formats.container import CONTAINER
from asyncdiff_api.formats.errors import ContractError

from asyncdiff_operator.commands.cluster import Cluster
from asyncdiff_operator.commands.follow import looks
from asyncdiff_operator.commands.view import PodView, look
from asyncdiff_operator.resources import PODS

MOST_FOLLOWED: Final = 32
"""Pods whose logs are read at the same time; each takes a connection."""
_WITHOUT_LOG: Final = ("Pending", "ContainerCreating", "ErrImagePull", "ImagePullBackOff")


def newest_of_each(pods: Iterable[PodView], *, back: int) -> list[PodView]:
    """Gives of each shard its newest pod, or the one that came `back` pods before it, in order of the shards."""
    of_shard: dict[int | None, list[PodView]] = {}
    for pod in pods:
        of_shard.setdefault(pod.shard, []).append(pod)
    found = [pods[-1 - back] for pods in of_shard.values() if len(pods) > back]
    return sorted(found, key=lambda pod: -1 if pod.shard is None else pod.shard)


def print_log(
    cluster: Cluster, pod: PodView, tail: int | None, *, marked: bool, follow: bool = False
) -> None:
    """Prints the log of a pod.

    Args:
        cluster: Where it is.
        pod: Whose log.
        tail: Number of lines from its end; None for all.
        marked: Begin each line with the shard.
        follow: Go on until the container ends.
    """
    query = {"container": CONTAINER, "follow": str(follow).lower()}
    if tail is not None:
        query["tailLines"] = str(tail)
    address = f"{PODS.address(cluster.namespace, pod.name, 'log')}?{urlencode(query)}"
    mark = f"{pod.step if pod.shard is None else f'shard {pod.shard}'} | " if marked else ""
    for line in cluster.lines(address, f"read the log of {pod.name}"):
        typer.echo(f"{mark}{line}")


def follow_logs(cluster: Cluster, name: str, wanted: Callable[[PodView], bool], tail: int | None) -> None:
    """Prints what the pods of a job write, each from when it is first seen, until the job has ended."""
    threads: dict[str, threading.Thread] = {}

    def read(pod: PodView) -> None:
        # a pod that went while it was read is no error: the one that takes its place is read next
        with suppress(ContractError):
            print_log(cluster, pod, tail, marked=True, follow=True)

    for view in looks(cluster, name, None, look):
        for pod in newest_of_each(filter(wanted, view.pods), back=0):
            living = sum(thread.is_alive() for thread in threads.values())
            if pod.name not in threads and pod.state not in _WITHOUT_LOG and living < MOST_FOLLOWED:
                threads[pod.name] = threading.Thread(target=read, args=(pod,), daemon=True)
                threads[pod.name].start()
    for thread in threads.values():
        thread.join()
