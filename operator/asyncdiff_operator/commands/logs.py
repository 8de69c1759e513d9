"""`asyncdiff logs NAME`: what the pods of a job wrote, by shard."""

from __future__ import annotations

from typing import Annotated

import typer
from asyncdiff_api.formats.errors import InvalidJobError

from asyncdiff_operator.commands.cluster import Cluster, connect
from asyncdiff_operator.commands.reading_logs import follow_logs, newest_of_each, print_log
from asyncdiff_operator.commands.view import JobView, PodView, look
from asyncdiff_operator.names import Step


def print_logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the job.")],
    shard: Annotated[
        int | None, typer.Option("--shard", "-s", min=0, help="One shard, by its number. Default: all.")
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="The finish step in place of the shards.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, in later pods too.")
    ] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of each shard the pod before its newest.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, help="Lines of each pod, from its end. Default: all.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job.")] = None,
    context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
) -> None:
    """Print the logs of a job's pods, the newest of each shard.

    Where there is more than one pod, each line begins with its shard. A shard that was retried has several pods,
    for as long as Kubernetes keeps them.
    """
    if finish and shard is not None:
        raise InvalidJobError("--finish and --shard exclude each other: the finish step is of the whole job")
    if follow and previous:
        raise InvalidJobError(
            "--follow and --previous exclude each other: a pod that has ended writes no more"
        )
    cluster = connect(context, namespace)
    if follow:
        follow_logs(cluster, name, lambda pod: _wanted(pod, shard, finish=finish), tail)
        return
    view = look(cluster, name)
    wanted = [pod for pod in view.pods if _wanted(pod, shard, finish=finish)]
    chosen = newest_of_each(wanted, back=1 if previous else 0)
    if not chosen:
        raise InvalidJobError(_nothing(view, cluster, wanted, shard, finish=finish))
    for pod in chosen:
        print_log(cluster, pod, tail, marked=len(chosen) > 1)


def _wanted(pod: PodView, shard: int | None, *, finish: bool) -> bool:
    if finish:
        return pod.step == Step.FINISH
    return pod.step == Step.SHARDS and shard in (None, pod.shard)


def _nothing(
    view: JobView, cluster: Cluster, wanted: list[PodView], shard: int | None, *, finish: bool
) -> str:
    """Why there is no log, and what to do."""
    whose = "the finish step" if finish else "any shard" if shard is None else f"shard {shard}"
    again = f"See asyncdiff status {view.name} --namespace {cluster.namespace}"
    if wanted:
        return f"{view.name} has no earlier pod of {whose}: leave out --previous"
    total = view.status.shards.total if view.status.shards is not None else None
    if shard is not None and total is not None and shard >= total:
        return f"{view.name} has {total} shards, numbered from 0; there is no shard {shard}"
    return f"{view.name} has no pod of {whose}: none was started yet, or Kubernetes keeps it no more. {again}"
