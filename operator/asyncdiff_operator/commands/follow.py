"""A job looked at again and again until it has ended, through outages of the API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from asyncdiff_api.formats.errors import OutageError, WrongJobError

from asyncdiff_operator.commands.cluster import Cluster, JobNotFoundError
from asyncdiff_operator.commands.view import JobView, status_of

LOOK_SECONDS: Final = 1.0
"""Between two looks; the operator writes a status every five seconds at most."""
PATIENCE_SECONDS: Final = 300.0
"""How long an API server may be away."""

T = TypeVar("T")


class JobDeletedError(WrongJobError):
    """Someone deleted the job meanwhile."""


def looks(
    cluster: Cluster, name: str, uid: str | None, look: Callable[[Cluster, str], JobView]
) -> Iterator[JobView]:
    """Gives a job now, and again every second until it has ended; the last look is of its end.

    Args:
        cluster: Where it is.
        name: Its name.
        uid: Its uid; None for that of the first look.
        look: Reads it.

    Raises:
        JobDeletedError: It is gone, or another has its name.
        OutageError: The API server was away for too long.
    """
    while True:
        view = patiently(partial(_look, cluster, name, uid, look))
        uid = uid or view.manifest["metadata"]["uid"]
        yield view
        if view.ended:
            return
        time.sleep(LOOK_SECONDS)


def look_at_status(cluster: Cluster, name: str) -> JobView:
    """Reads the job alone, without pods and events: one request."""
    manifest = cluster.job(name)
    return JobView(manifest=manifest, status=status_of(manifest))


def patiently(attempt: Callable[[], T]) -> T:
    """Gives what an attempt gives, tried again while the API server is away."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except OutageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)


def _look(cluster: Cluster, name: str, uid: str | None, look: Callable[[Cluster, str], JobView]) -> JobView:
    try:
        view = look(cluster, name)
    except JobNotFoundError as error:
        if uid is None:
            raise
        raise JobDeletedError(f"{name} was deleted before it ended") from error
    if uid is not None and view.manifest["metadata"]["uid"] != uid:
        raise JobDeletedError(f"{name} was deleted before it ended, and another job has its name now")
    return view
